// The devices there are: an explicit list, the one place that knows all backends.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"

namespace tandem {

struct BackendOptions {
  uint32_t threads = 0;  // of the CPU; 0: the physical cores
  std::string cpu_isa;   // as TANDEM_CPU_ISA; empty: the best
};

// Opens a device by name ("cpu", "vulkan", "vulkan:1", "npu", "npu-emu"). Throws kUsage for a name
// that does not exist, kUnsupported when it exists and cannot be used here, with the reason.
std::unique_ptr<Backend> open_backend(const std::string& name, const BackendOptions& options);

// One line of `tandem devices`.
struct DeviceListing {
  std::string name;
  std::string device;  // what it is; empty when there is none
  bool usable = false;
  bool emulated = false, software = false;
  std::vector<std::string> notes;  // features, or why it cannot be used and the fix
};
std::vector<DeviceListing> list_devices();

}  // namespace tandem
