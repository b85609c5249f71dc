// IPsec tunnels through a box at a link: IKE in the clear as far as a NAT can see it, then ESP.
//
// Tunnel n is flow n's client and server: IKEv2 without NAT-T on UDP 500, then the first ESP packet
// of either direction, with the SPIs of frames.hpp. Each step is sent when the one before it has
// arrived, and again when it has not for a while: a client waits if its gate is taken.
#pragma once

#include <array>
#include <nlohmann/json.hpp>
#include <vector>

#include "link_flows.hpp"

namespace lsn::bench {

class Tunnels {
 public:
  /// `esp` learns the NAT address of each tunnel.
  Tunnels(Link& link, Flows& esp) : link_(link), esp_(esp) {}

  /// Tunnels [first, last): how many came up, how fast, how often a step had to be repeated.
  nlohmann::json open(std::uint32_t first, std::uint32_t last);

 private:
  struct Step {
    Side from;
    std::uint8_t exchange;  ///< of IKEv2 (RFC 7296 section 3.1); 0: ESP
    bool is_response;
  };
  /// The packets that make a tunnel, in their order.
  static constexpr std::array<Step, 6> kSteps = {{
      {kInside, 34, false},
      {kOutside, 34, true},  // IKE_SA_INIT
      {kInside, 35, false},
      {kOutside, 35, true},  // IKE_AUTH, which makes the child SA
      {kInside, 0, false},
      {kOutside, 0, false},
  }};
  struct Tunnel {
    std::uint8_t arrived = 0;  ///< of its steps
    Endpoint nat;              ///< of its IKE
  };

  void write(std::uint8_t* frame, std::uint32_t n, const Step& step) const;
  void take(Side side, const std::uint8_t* frame, std::uint32_t size);

  Link& link_;
  Flows& esp_;
  std::vector<Tunnel> tunnels_;
  std::vector<std::uint32_t> ready_;  ///< their next step may be sent
  std::uint32_t up_ = 0;
  std::uint64_t faults_ = 0;
  std::string first_fault_;
};

}  // namespace lsn::bench
