// Links that a driver takes down by itself, and with them the memory that workers read.
//
// The peer of net_memif is another process. When it ends, the driver hears of it on EAL's interrupt
// thread, marks the link as down and unmaps the rings, even while a worker is in them (DPDK 22.11,
// memif_disconnect()). In between it calls rte_intr_callback_unregister(). The definition in
// peer_guard.cpp takes the place of EAL's, for drivers too (CMakeLists.txt exports it), and lets
// the driver go on only when no worker can be in the port any more:
//
//   withdraw   the port serves no worker from now on (Port::serves())
//   grace      a token of rte_rcu_qsbr: every worker has passed a quiescent state since, or sleeps
//
// Only the interrupt thread waits for that. The port serves again when the control thread sees its
// link up (admit()); both look at the link under one lock, so a port whose rings are about to go is
// not admitted.
#pragma once

#include <rte_rcu_qsbr.h>

#include <chrono>
#include <functional>
#include <memory>

namespace lsn::runtime {

class Port;

namespace peer_guard {

/// The workers that may be in a driver: before the first of them runs. Null: there are none any
/// more.
void set_workers(std::shared_ptr<rte_rcu_qsbr> quiescence);

/// From before the port is started until it has been closed.
void guard(Port& port);
void forget(Port& port);

/// Control thread: lets the port serve if its link is up, and says whether it does.
[[nodiscard]] bool admit(Port& port);

/// Runs something on EAL's interrupt thread, so that the driver does nothing of its own meanwhile.
/// Whether it has been done within the time.
[[nodiscard]] bool on_interrupt_thread(std::function<void()> what,
                                       std::chrono::milliseconds patience);

}  // namespace peer_guard
}  // namespace lsn::runtime
