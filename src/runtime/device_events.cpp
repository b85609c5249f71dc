#include "lsn/runtime/device_events.hpp"

#include <rte_dev.h>
#include <rte_errno.h>
#include <spdlog/spdlog.h>

#include <cerrno>
#include <chrono>
#include <thread>
#include <utility>

namespace lsn::runtime {
namespace {

void on_event(const char* /*device*/, rte_dev_event_type event, void* removed) {
  if (event == RTE_DEV_EVENT_REMOVE)
    static_cast<std::atomic<bool>*>(removed)->store(true, std::memory_order_relaxed);
}

}  // namespace

RemovalWatch::RemovalWatch(std::string name, std::atomic<bool>& removed)
    : name_(std::move(name)), removed_(removed) {
  rte_dev_event_callback_register(name_.c_str(), on_event, &removed_);
}

RemovalWatch::~RemovalWatch() {
  // Not while EAL is in the callback.
  while (rte_dev_event_callback_unregister(name_.c_str(), on_event, &removed_) == -EAGAIN)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

DeviceMonitor::DeviceMonitor(bool by_uio) {
  listens_ = rte_dev_event_monitor_start() == 0;
  handles_faults_ = by_uio && rte_dev_hotplug_handle_enable() == 0;
  if (!listens_)
    spdlog::info("DPDK does not listen to the kernel's device events: {}", rte_strerror(rte_errno));
}

DeviceMonitor::~DeviceMonitor() {
  if (handles_faults_) rte_dev_hotplug_handle_disable();
  if (listens_) rte_dev_event_monitor_stop();
}

}  // namespace lsn::runtime
