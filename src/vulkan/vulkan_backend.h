// The Vulkan backend: any GPU with Vulkan 1.3, and what there is to choose from.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "vulkan/device_info.h"

namespace tandem {

struct VulkanOptions {
  std::string device{};   // number, part of a name, or empty for the best hardware device
  bool validate = false;  // run under the Khronos validation layer
  bool profile = false;   // programs time every dispatch
  std::string tuning{};   // changes to the device's row, for tests and benchmarks: "chained=0"
};

// Throws kNotFound without a loader, driver or such a device, kUnsupported when the device lacks a
// needed feature.
std::unique_ptr<Backend> make_vulkan_backend(const VulkanOptions& options);

struct VulkanDeviceList {
  std::vector<VulkanDeviceInfo> devices;
  std::string why_none;  // a sentence when there is no loader or no driver
};
VulkanDeviceList list_vulkan_devices();

// What follows takes backends, programs made by make_vulkan_backend().

struct VulkanCounters {
  uint64_t staged_copies = 0, staged_bytes = 0;  // between host and device memory
  uint64_t memory_used = 0, memory_budget = 0;   // bytes
};
VulkanCounters vulkan_counters(const Backend& backend);

// Messages of the validation layers so far.
std::vector<std::string> vulkan_validation_messages(const Backend& backend);

struct VulkanDispatch {
  std::string label;
  uint64_t bytes = 0, operations = 0;
  double microseconds = 0;  // of the last submission; 0 without `profile`
};
struct VulkanProgramReport {
  uint32_t dispatches = 0, barriers = 0, command_buffers = 0;  // of one round
  std::vector<VulkanDispatch> timeline;
};
VulkanProgramReport vulkan_program_report(const Backend& backend, const Program& program);

}  // namespace tandem
