// Notices that a device is about to go, or has gone: vfio-pci asks for it back, the kernel says so
// of any PCI device.
//
// EAL calls on its own thread, so the callback only sets a flag; the control thread reads it
// (Port::watch()).
#pragma once

#include <atomic>
#include <string>

namespace lsn::runtime {

/// Sets a flag when the device of this name is to be given up.
class RemovalWatch {
 public:
  RemovalWatch(std::string name, std::atomic<bool>& removed);
  ~RemovalWatch();
  RemovalWatch(const RemovalWatch&) = delete;
  RemovalWatch& operator=(const RemovalWatch&) = delete;

 private:
  std::string name_;
  std::atomic<bool>& removed_;
};

/// While it lives, EAL listens to the kernel's events about devices.
class DeviceMonitor {
 public:
  /// `by_uio`: a device that goes is unmapped at once. EAL then maps other memory where its driver
  /// still reads and writes, so that the process is not killed (SIGBUS). vfio-pci waits.
  explicit DeviceMonitor(bool by_uio);
  ~DeviceMonitor();
  DeviceMonitor(const DeviceMonitor&) = delete;
  DeviceMonitor& operator=(const DeviceMonitor&) = delete;

 private:
  bool listens_ = false;
  bool handles_faults_ = false;
};

}  // namespace lsn::runtime
