// Which NPU the machine has and whether it can be used: PCI function, driver, firmware, device
// node, permissions, memory limit, power mode. Data only; the commands print it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "npu/driver_calls.h"

namespace tandem::npu {

// One thing that was looked at, in the order a person would set the machine up.
struct Finding {
  enum class State : uint8_t { kOk, kMissing, kUnknown };
  std::string subject;  // "PCI device", "driver", ...
  State state = State::kUnknown;
  std::string value;  // what was found, or what is wrong
  std::string fix;    // when missing: one line that a person can do
};

struct Detection {
  bool present = false;     // an NPU of a known kind is on the PCI bus
  bool usable = false;      // present, and no finding is missing
  std::string product;      // "Phoenix", "Strix Halo", ...; empty when there is none
  std::string generation;   // "npu1" or "npu2", as the compiler calls the array
  std::string pci_address;  // "0000:c4:00.1"
  uint16_t pci_device = 0;
  uint8_t pci_revision = 0;
  std::string node;        // "/dev/accel/accel0"
  std::string firmware;    // "1.5.5.391"
  uint32_t array_mhz = 0;  // 0 when the driver was not asked
  std::vector<Finding> findings;
};

// Looks below `root` (normally "/"; TANDEM_NPU_ROOT for whoever calls from a command) in /sys,
// /proc, /dev and /lib/firmware. With `calls`, a usable device is opened and asked for power mode
// and clocks. Never throws for what it finds.
Detection detect_npu(const std::string& root, DriverCalls* calls = nullptr);

// The root to look under: TANDEM_NPU_ROOT or "/".
std::string detection_root();

}  // namespace tandem::npu
