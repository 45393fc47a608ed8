// What is known of a Vulkan device, in plain types: for `tandem devices` and for choosing one.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace tandem {

// One shape of VK_KHR_cooperative_matrix at subgroup scope: C[m,n] += A[m,k] B[k,n].
struct MatrixShape {
  uint32_t m = 0, n = 0, k = 0;
  std::string input, accumulator;  // "f16", "i8"; "f32", "i32"
};

struct MemoryHeap {
  size_t size = 0, budget = 0;  // budget: what this process may use, as the driver says; or size
  bool device_local = false;
};

struct VulkanDeviceInfo {
  uint32_t index = 0;  // as in --device vulkan:1
  std::string name, driver;
  std::string why_not;  // empty when the device can run the engine
  bool discrete = false, software = false;
  bool uma = false;          // every heap the device reads fast is host-visible
  bool host_import = false;  // VK_EXT_external_memory_host
  bool integer_dot = false;  // packed 4x8-bit dot product in hardware
  bool cooperative_matrix = false;
  bool memory_budget = false;        // VK_EXT_memory_budget
  bool pipeline_statistics = false;  // VK_KHR_pipeline_executable_properties
  bool chained = false;              // dispatches wait for each other: so wanted, and found to work
  bool subgroup_size_control = false;  // a pipeline may demand a subgroup size
  uint32_t subgroup = 0, min_subgroup = 0, max_subgroup = 0;
  uint32_t compute_units = 0;  // 0: the driver does not tell
  uint32_t vendor = 0, shared_memory_size = 0, max_workgroup = 0, push_constant_size = 0;
  size_t max_allocation = 0, max_storage_range = 0, host_import_alignment = 0;
  double timestamp_ns = 0;  // length of a tick
  std::vector<MatrixShape> matrices;
  std::vector<MemoryHeap> heaps;
};

}  // namespace tandem
