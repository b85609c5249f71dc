#include "lsn/runtime/machine_check.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lsn/control/config/describe.hpp"
#include "lsn/control/config/load.hpp"

namespace lsn::runtime {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::string_view kText = R"(dataplane: {
  workers = [ 1, 7 ];
  eal = [ EAL ];
  maxSessions = 4096;
  alg: { maxIkeSessions = 64; maxEspSessions = 64; maxGates = 64; maxHeldBytes = 65536; };
};
interfaces = (
  { name = "in"; role = "inside"; address = "192.0.2.1/24";
    device = "net_af_packet0,iface=lsn-in"; },
  { name = "out"; role = "outside"; address = "198.51.100.1/24";
    device = "0000:03:00.1"; }
);
lsn: {
  client = ( { name = "C"; network = "192.0.2.0/24"; } );
  pool = ( { name = "P"; lsnip = "203.0.113.0-203.0.113.9"; } );
};
)";

std::string text(const std::string& eal = "\"--in-memory\"") {
  std::string result(kText);
  return result.replace(result.find("EAL"), 3, eal);
}

std::vector<std::string> lines_of(const std::string& config, const control::Check& check) {
  std::vector<std::string> lines;
  const auto model = control::load_config_text(config, "lsnd.conf", check);
  if (!model)
    for (const control::Problem& problem : model.error())
      lines.push_back(control::to_string(problem));
  return lines;
}

std::vector<std::string> missing(const Machine& machine, const std::string& config = text()) {
  return lines_of(config, [&](const control::Model& model, control::Findings& findings) {
    check_machine(model, machine, findings);
  });
}

Machine complete() {
  Machine machine;
  machine.cpus = {0, 1, 7};
  machine.kernel_interfaces = {"lo", "lsn-in"};
  machine.pci_devices = {"0000:03:00.0", "0000:03:00.1"};
  machine.addresses = {{"lo", wire::Ipv4Address{0x7F000001}}};
  return machine;
}

TEST(MachineCheck, FindsNothingWhereAllIsThere) {
  EXPECT_THAT(missing(complete()), IsEmpty());
}

TEST(MachineCheck, NamesACpuThatIsNotThere) {
  Machine machine = complete();
  machine.cpus = {0, 1};
  EXPECT_THAT(missing(machine),
              ElementsAre("lsnd.conf:2: dataplane.workers: given CPU 7, allowed a CPU that this "
                          "machine has for lsnd (0, 1)"));
}

TEST(MachineCheck, NamesAnAddressToListenOnThatTheKernelHasNot) {
  const auto listening = [](const std::string& at) {
    return text() + "metrics: { listen = \"" + at + "\"; };\n";
  };
  Machine machine = complete();
  machine.addresses.push_back({"eth0", wire::Ipv4Address{0xC6336407}});
  for (const char* good : {"", "127.0.0.5:9469", "0.0.0.0:9469", "198.51.100.7:9469"})
    EXPECT_THAT(missing(machine, listening(good)), IsEmpty()) << good;
  EXPECT_THAT(missing(machine, listening("198.51.100.1:9469")),
              ElementsAre(HasSubstr("metrics: listen: given 198.51.100.1:9469, allowed an address "
                                    "that the kernel of this machine has (127.0.0.1, "
                                    "198.51.100.7) or 0.0.0.0")));
}

TEST(MachineCheck, NamesAKernelInterfaceThatIsNotThere) {
  Machine machine = complete();
  machine.kernel_interfaces = {"eth0", "lo"};
  EXPECT_THAT(
      missing(machine),
      ElementsAre("lsnd.conf:9: interface in: device: given kernel interface lsn-in, allowed "
                  "one that this machine has (eth0, lo)"));
}

TEST(MachineCheck, NamesAKernelInterfaceOfTwoDevices) {
  std::string config = text();
  const std::size_t at = config.find("device = \"", config.find("device = \"") + 1) + 10;
  config.replace(at, config.find('"', at) - at, "net_af_packet1,iface=lsn-in");
  EXPECT_THAT(missing(complete(), config),
              Contains(HasSubstr("kernel interface lsn-in a second time")));
}

TEST(MachineCheck, NamesAGroupThatIsNotThere) {
  EXPECT_THAT(missing(complete(), text() + "control: { group = \"no-such-group\"; };"),
              Contains(HasSubstr("control.group: given no-such-group")));
}

TEST(MachineCheck, NamesAFileOfAuthoritiesThatCannotBeRead) {
  const auto with_authorities = [](const std::string& file) {
    return missing(complete(), text() +
                                   "records: { syslog = ( { server = \"192.0.2.9:6514\"; "
                                   "transport = \"TLS\"; caFile = \"" +
                                   file + "\"; } ); };");
  };
  EXPECT_THAT(
      with_authorities("/no/such.pem"),
      ElementsAre(HasSubstr("records.syslog: caFile: given \"/no/such.pem\" (No such file or "
                            "directory), allowed a file with certificates (PEM)")));
  EXPECT_THAT(with_authorities("/"), ElementsAre(HasSubstr("given \"/\" (")));
  EXPECT_THAT(with_authorities("/dev/null"), ElementsAre(HasSubstr("given \"/dev/null\" (")))
      << "no certificate in it";
}

TEST(MachineCheck, NamesAPciDeviceThatIsNotThereInABondToo) {
  Machine machine = complete();
  machine.pci_devices = {"0000:03:00.0"};
  EXPECT_THAT(missing(machine), ElementsAre(AllOf(HasSubstr("lsnd.conf:11: interface out: device"),
                                                  HasSubstr("given \"0000:03:00.1\""))));
  std::string bond = text();
  const std::string device = "0000:03:00.1\"";
  bond.replace(bond.find(device), device.size(),
               "net_bonding0,mode=1,slave=0000:03:00.0,slave=(net_af_packet1,iface=gone)\"");
  EXPECT_THAT(missing(machine, bond), ElementsAre(HasSubstr("given kernel interface gone")));
}

TEST(MachineCheck, NamesAnAddressThatTheKernelHasToo) {
  Machine machine = complete();
  machine.addresses.push_back({"eth1", wire::Ipv4Address{0xC6336401}});
  machine.addresses.push_back({"eth2", wire::Ipv4Address{0xCB007105}});
  EXPECT_THAT(missing(machine),
              ElementsAre(AllOf(HasSubstr("interface out: address: given 198.51.100.1/24"),
                                HasSubstr("its eth1 has 198.51.100.1")),
                          AllOf(HasSubstr("pool P: lsnip: given 203.0.113.0-203.0.113.9"),
                                HasSubstr("its eth2 has 203.0.113.5"))));
}

TEST(MachineCheck, LeavesTheKernelItsAddressesWhereNoDeviceIsItsOwn) {
  Machine machine = complete();
  machine.addresses.push_back({"dummy0", wire::Ipv4Address{0xCB007105}});
  std::string nics = text();
  const std::string device = "net_af_packet0,iface=lsn-in";
  nics.replace(nics.find(device), device.size(), "0000:03:00.0");
  EXPECT_THAT(missing(machine, nics), IsEmpty()) << "a routing daemon may announce it from there";
}

TEST(MemoryCheck, SaysHowMuchIsNeededWhereTooLittleIsGiven) {
  const auto model = control::load_config_text(text("\"--no-huge\""));
  ASSERT_TRUE(model);
  const BufferPlan buffers = make_plan(*model).buffers;
  const auto need = [&buffers](BufferPlan::Pages pages) {
    return std::to_string((buffers.bytes(2, pages) + (1 << 20) - 1) >> 20);
  };
  for (const char* option : {"\"-m\", \"16\"", "\"-m16\"", "\"--socket-mem=8,8\""})
    for (const bool no_huge : {false, true}) {
      const auto found =
          lines_of(text(std::string(no_huge ? "\"--no-huge\", " : "") + option), check_memory);
      ASSERT_EQ(found.size(), 1U) << option;
      EXPECT_THAT(
          found[0],
          AllOf(HasSubstr("lsnd.conf:3: dataplane.eal: given"),
                HasSubstr("allowed " +
                          need(no_huge ? BufferPlan::Pages::kSmall : BufferPlan::Pages::kHuge) +
                          " MB at least")));
    }
  EXPECT_THAT(lines_of(text("\"--no-huge\", \"-m\", \"" + need(BufferPlan::Pages::kSmall) + "\""),
                       check_memory),
              IsEmpty());
  EXPECT_THAT(lines_of(text("\"--in-memory\", \"-m\", \"" + need(BufferPlan::Pages::kHuge) + "\""),
                       check_memory),
              IsEmpty());
}

TEST(TableNeed, IsMetForTheMostThatAConfigurationMayAskFor) {
  control::Model model;
  model.dataplane.workers = {1};
  const auto most = static_cast<std::uint32_t>(control::kMaxTablePerWorker);
  model.dataplane.max_sessions = most;
  model.dataplane.alg = {most, most, most, 2'147'483'647};
  model.dataplane.fragments.max = 1'048'576;
  EXPECT_GT(table_need(make_plan(model)).huge, std::size_t{most} * 400) << "mapped, not touched";
}

TEST(MemoryReport, HasTheSumOfBuffersAndTables) {
  auto model = control::load_config_text(text());
  ASSERT_TRUE(model);
  model->dataplane.max_sessions = 1048576;
  const Plan plan = make_plan(*model);
  const TableNeed tables = table_need(plan);
  // 140 bytes of each session are taken at start, and the rest is reserved.
  EXPECT_GT(tables.huge, std::size_t{524288} * 160);
  EXPECT_EQ(tables.huge % (2 << 20), 0U);
  EXPECT_LT(tables.small, tables.huge / 10);
  const std::size_t all = plan.buffers.bytes(2, BufferPlan::Pages::kHuge) + 2 * tables.huge;

  Machine machine;
  machine.free_huge_page_bytes = all;
  const auto enough = describe_memory(plan, machine);
  ASSERT_EQ(enough.size(), 2U);
  EXPECT_THAT(enough[0], HasSubstr("tables of 1048576 sessions"));
  EXPECT_THAT(enough[1],
              AllOf(HasSubstr(std::to_string((all + (1 << 20) - 1) >> 20) + " MB"),
                    HasSubstr(std::to_string((all + (2 << 20) - 1) >> 21) + " pages of 2 MB")));
  machine.free_huge_page_bytes = all - 1;
  EXPECT_THAT(describe_memory(plan, machine).back(), HasSubstr("too few for the tables"));
  machine.free_huge_page_bytes = 0;
  EXPECT_THAT(describe_memory(plan, machine).back(), HasSubstr("too few for the packet buffers"));
}

}  // namespace
}  // namespace lsn::runtime
