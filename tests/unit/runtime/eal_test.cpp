#include "lsn/runtime/eal.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rte_log.h>
#include <rte_malloc.h>
#include <rte_memory.h>
#include <unistd.h>

#include "support.hpp"

namespace lsn::runtime {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr std::size_t kMegabyte = std::size_t{1} << 20;

EalRequest request(std::vector<std::string> options, std::vector<unsigned> cpus) {
  return {std::move(options), std::move(cpus), {}, 100 * kMegabyte, 150 * kMegabyte};
}

TEST(EalArguments, GiveEachWorkerAnLcoreOfItsOwnAndTheMainThreadTheOtherCpus) {
  const Machine machine{{0, 1, 2, 3}, 1000 * kMegabyte};
  const auto result = eal_arguments(request({"--in-memory"}, {2, 3}), machine);
  ASSERT_TRUE(result);
  EXPECT_THAT(result->arguments,
              ElementsAre("lsnd", "--lcores=0@(0,1),1@2,2@3", "--in-memory", "--no-pci"));
  EXPECT_THAT(result->remarks, IsEmpty());
  EXPECT_TRUE(result->huge_pages);
}

TEST(EalArguments, LetTheMainThreadShareWhereWorkersHaveAllCpus) {
  const Machine machine{{0, 1}, 1000 * kMegabyte};
  const auto result = eal_arguments(request({"--in-memory"}, {0, 1}), machine);
  ASSERT_TRUE(result);
  EXPECT_THAT(result->arguments, Contains("--lcores=0@(0,1),1@0,2@1"));
}

TEST(EalArguments, RefuseACpuThatIsNotThere) {
  const Machine machine{{0, 1}, 0};
  const auto result = eal_arguments(request({"--in-memory"}, {1, 7}), machine);
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error(), HasSubstr("dataplane.workers: CPU 7"));
  EXPECT_THAT(result.error(), HasSubstr("0, 1"));
}

TEST(EalArguments, ReplaceInMemoryWhereHugePagesAreMissingAndSaySo) {
  for (const std::size_t free : {std::size_t{0}, 99 * kMegabyte}) {
    const Machine machine{{0, 1}, free};
    const auto result = eal_arguments(request({"--in-memory", "--no-pci"}, {1}), machine);
    ASSERT_TRUE(result);
    EXPECT_THAT(result->arguments, Not(Contains("--in-memory")));
    EXPECT_THAT(result->arguments, Contains("--no-huge"));
    EXPECT_THAT(result->arguments, Contains("--no-shconf"));
    EXPECT_THAT(result->arguments, Contains("-m"));
    EXPECT_THAT(result->arguments, Contains("151"));
    EXPECT_THAT(result->remarks, ElementsAre(HasSubstr("--no-huge")));
    EXPECT_FALSE(result->huge_pages);
  }
}

TEST(EalArguments, KeepWhatTheConfigurationGives) {
  const Machine machine{{0, 1}, 0};
  const auto result = eal_arguments(
      request({"--no-huge", "--no-pci", "-m", "64", "--file-prefix=x"}, {0}), machine);
  ASSERT_TRUE(result);
  EXPECT_THAT(result->arguments, ElementsAre("lsnd", "--lcores=0@(1),1@0", "--no-huge", "--no-pci",
                                             "-m", "64", "--file-prefix=x"));
  EXPECT_THAT(result->remarks, IsEmpty());
  EXPECT_FALSE(result->huge_pages);
}

TEST(EalArguments, AllowThePciDevicesOfTheConfigurationAndNoOthers) {
  const Machine machine{{0, 1}, 1000 * kMegabyte};
  EalRequest wanted = request({"--in-memory"}, {1});
  wanted.pci = {"0000:03:00.0", "0000:03:00.1"};
  const auto result = eal_arguments(wanted, machine);
  ASSERT_TRUE(result);
  EXPECT_THAT(result->arguments, ElementsAre("lsnd", "--lcores=0@(0),1@1", "--in-memory", "-a",
                                             "0000:03:00.0", "-a", "0000:03:00.1"));
}

TEST(Eal, GivesWhoAsksADescriptorOfMemoryThatHeMayClose) {
  test::need_eal();
  void* const memory = rte_malloc(nullptr, 64, 0);
  const rte_memseg* const segment = rte_mem_virt2memseg(memory, nullptr);
  ASSERT_NE(segment, nullptr);
  const int one = rte_memseg_get_fd(segment);
  ASSERT_GE(one, 0);
  const int other = rte_memseg_get_fd(segment);
  ASSERT_GE(other, 0);
  EXPECT_NE(one, other);
  close(one);
  close(other);
  const int third = rte_memseg_get_fd(segment);
  EXPECT_GE(fcntl(third, F_GETFD), 0) << "DPDK's own was closed with ours";
  close(third);
  rte_free(memory);
}

TEST(Eal, GivesItToDriversToo) {
  EXPECT_EQ(dlsym(RTLD_DEFAULT, "rte_memseg_get_fd"), reinterpret_cast<void*>(&rte_memseg_get_fd));
  // Not EAL's own, which its neighbour in the same library stands for.
  Dl_info ours{}, eal{};
  ASSERT_NE(dladdr(dlsym(RTLD_DEFAULT, "rte_memseg_get_fd"), &ours), 0);
  ASSERT_NE(dladdr(dlsym(RTLD_DEFAULT, "rte_memseg_get_fd_offset"), &eal), 0);
  EXPECT_STRNE(ours.dli_fname, eal.dli_fname);
}

constexpr const char* kNic = "0000:03:00.1";

TEST(WhyNoDevice, TheKernelsAnswerComesFirst) {
  EXPECT_THAT(why_no_device(kNic, std::nullopt, {}, {}), HasSubstr("no such PCI device"));
  EXPECT_THAT(why_no_device(kNic, "", {}, {}), HasSubstr("bound to no driver"));
  EXPECT_THAT(why_no_device(kNic, "ixgbe", {}, {}), HasSubstr("bound to the kernel's ixgbe"));
  EXPECT_THAT(why_no_device(kNic, "vfio-pci", {}, {}), HasSubstr("DPDK has no driver for it"));
  EXPECT_THAT(why_no_device(kNic, "virtio-pci", {},
                            {"eth_virtio_pci_init(): Failed to init PCI device",
                             "EAL: Requested device 0000:03:00.1 cannot be used"}),
              HasSubstr("bound to the kernel's virtio-pci"))
      << "which net_virtio tries to use";
  EXPECT_THAT(why_no_device("ffff:1f:1f.7"), HasSubstr("no such PCI device")) << "of this machine";
}

TEST(WhyNoDevice, NoPciIsSaidToBeTheReason) {
  EXPECT_THAT(why_no_device(kNic, "vfio-pci", {"lsnd", "--no-pci"}, {}), HasSubstr("--no-pci"));
}

TEST(WhyNoDevice, EalsOwnReasonIsTheDevicesAndNotAnothers) {
  const std::vector<std::string> errors{"EAL: Cannot open /dev/vfio/11: Permission denied",
                                        "EAL: Requested device 0000:03:00.0 cannot be used",
                                        "EAL: Cannot open /dev/vfio/12: Device or resource busy",
                                        "EAL: Failed to open VFIO group 12",
                                        "EAL: Failed to open VFIO group 12",
                                        "EAL: Requested device 0000:03:00.1 cannot be used",
                                        "EAL: Something else"};
  EXPECT_EQ(why_no_device(kNic, "vfio-pci", {}, errors),
            "Cannot open /dev/vfio/12: Device or resource busy; Failed to open VFIO group 12");
  EXPECT_EQ(why_no_device("0000:03:00.0", "vfio-pci", {}, errors),
            "Cannot open /dev/vfio/11: Permission denied");
}

TEST(WhyNoDevice, TheIovaModeThatAMachineWithoutIommuNeedsIsExplained) {
  const std::string why =
      why_no_device(kNic, "uio_pci_generic", {},
                    {"EAL:   Expecting 'PA' IOVA mode but current mode is 'VA', not initializing",
                     "EAL: Requested device 0000:03:00.1 cannot be used"});
  EXPECT_THAT(why, testing::StartsWith("Expecting 'PA' IOVA mode"));
  EXPECT_THAT(why, HasSubstr("without an IOMMU: huge pages"));
  EXPECT_THAT(why, Not(HasSubstr("\n")));
}

TEST(Attempt, MakesWhatDpdkComplainsOfADetailThatCanBeAskedFor) {
  test::need_eal();
  const Attempt attempt;
  EXPECT_EQ(attempt.first_complaint(), "");
  rte_log(RTE_LOG_ERR, RTE_LOGTYPE_EAL, "EAL: Error disabling MSI-X interrupts for fd %d\n", 7);
  EXPECT_EQ(attempt.last_complaint(), "EAL: Error disabling MSI-X interrupts for fd 7");
}

TEST(Machine, HasTheCpuThatThisRunsOn) {
  EXPECT_THAT(Machine::inspect().cpus, Not(IsEmpty()));
}

}  // namespace
}  // namespace lsn::runtime
