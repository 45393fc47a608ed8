// Compute pipelines: specialised shader modules, made once each and kept on disk between runs.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "vulkan/api.h"
#include "vulkan/device.h"

namespace tandem::vulkan {

struct SpecConstant {
  uint32_t id = 0;  // kSpec... of shaders/include/params.h
  uint32_t value = 0;
  auto operator<=>(const SpecConstant&) const = default;
};

struct PipelineSpec {
  std::string_view module;              // a name of shaders/variants.cmake
  std::vector<SpecConstant> constants;  // all that the module has
  uint32_t push_constant_size = 0;      // sizeof the struct of params.h
  uint32_t subgroup_size = 0;           // demanded size; 0: the driver's choice
  std::string key() const;
};

// What a dispatch needs. Owned by the cache that made it.
struct Pipeline {
  VkPipeline handle = VK_NULL_HANDLE;
  VkPipelineLayout layout = VK_NULL_HANDLE;
  uint32_t push_constant_size = 0;
  std::string name;  // the spec's key: module and constants
};

// Where compiled pipelines are kept: TANDEM_PIPELINE_CACHE, or the user's cache folder; empty when
// switched off ("off").
std::filesystem::path pipeline_cache_folder();

class PipelineCache {
 public:
  // An empty folder keeps nothing on disk. `capture_statistics` makes pipelines that can be asked
  // for their registers and occupancy (VK_KHR_pipeline_executable_properties).
  PipelineCache(Device& device, std::filesystem::path folder, bool capture_statistics = false);
  ~PipelineCache();
  PipelineCache(const PipelineCache&) = delete;
  PipelineCache& operator=(const PipelineCache&) = delete;

  // Throws kInternal when the module's push constants or constants are not the spec's.
  const Pipeline& get(const PipelineSpec& spec);
  // Writes new pipelines to disk; a folder that cannot be written is only logged.
  void save() noexcept;

 private:
  std::filesystem::path file() const;
  void load();

  Device& device_;
  std::filesystem::path folder_;
  bool capture_statistics_;
  bool changed_ = false;
  VkPipelineCache cache_ = VK_NULL_HANDLE;
  std::map<std::string, Pipeline> pipelines_;
};

}  // namespace tandem::vulkan
