// The packet path: start reading here. This is all that the runtime calls of it.
//
// A burst from a device goes through these stages; each is a function of its own in the file named
// behind it.
//
//   parse        link header, VLAN -> interface, IPv4, TCP/UDP/ICMP -> Packet with its flow key;
//                what is no plain packet of a flow goes to the slow path         parse
//   find         hash, prefetch, look up the whole burst's sessions              pipeline
//   translate    rewrite addresses, ports and checksums, refresh, count, send    lsn44/translate
//
// That was the fast path: every packet that has a session. The others go on alone:
//
//   steer        whose packet is it? to its shard, if that is another            lsn44/steer
//   outbound     for the NAT? a client's? then its session, created if allowed   lsn44/outbound
//   inbound      a NAT address? a mapping that lets it in?                       lsn44/inbound
//   hairpin      outbound on the sender's shard, then inbound on the other's     lsn44/hairpin
//   icmp error   translated by the packet that it quotes                         lsn44/icmp_error
//   fragments    wait for their ports, then go the same ways                     lsn44/fragments
//   ALG          what LSN44 asks of it, and when                                 lsn44/alg_hooks
//   route, send  next hop, MTU, link header, transmit buffer                     l3/output
//
// A stage's decision is a Verdict; apply() (context.hpp) makes it a counted drop, a handoff, or
// nothing more.
#pragma once

#include "lsn/datapath/context.hpp"
#include "lsn/datapath/ipsec_alg/journal.hpp"
#include "lsn/datapath/ipsec_alg/queries.hpp"
#include "lsn/datapath/l3/kernel_path.hpp"
#include "lsn/datapath/l3/neighbours.hpp"
#include "lsn/datapath/lsn44/queries.hpp"
#include "lsn/datapath/lsn44/sweep.hpp"
#include "lsn/datapath/pipeline.hpp"
#include "lsn/datapath/shard.hpp"
