// What the parts of the backend share: one open device with its memory, pipelines and tuning.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string_view>

#include "vulkan/device.h"
#include "vulkan/matmul_tuning.h"
#include "vulkan/memory.h"
#include "vulkan/pipeline.h"
#include "vulkan/scratch_pool.h"
#include "vulkan/tuning.h"

namespace tandem::vulkan {

struct Context {
  // `capture_statistics`: see PipelineCache; nothing is kept on disk then.
  Context(std::string_view wanted, bool validate, const MemoryOptions& memory_options,
          bool capture_statistics = false)
      : device(wanted, validate),
        memory(device, memory_options),
        scratch(memory),
        pipelines(device, capture_statistics ? std::filesystem::path() : pipeline_cache_folder(),
                  capture_statistics),
        tuning(tuning_for(device.info())) {}

  // Invocations of a subgroup in our pipelines.
  uint32_t subgroup() const { return demanded_subgroup() != 0 ? tuning.subgroup : own_subgroup(); }
  // What to demand of a pipeline; 0 where the device has only one size or takes no demand.
  uint32_t demanded_subgroup() const {
    const VulkanDeviceInfo& info = device.info();
    const bool possible = info.subgroup_size_control && info.min_subgroup != info.max_subgroup &&
                          tuning.subgroup >= info.min_subgroup &&
                          tuning.subgroup <= info.max_subgroup;
    return possible ? tuning.subgroup : 0;
  }
  uint32_t units() const { return tuning.units; }

  Device device;
  Memory memory;
  ScratchPool scratch;
  PipelineCache pipelines;
  Tuning tuning;
  // For tests and measurements: no unit beyond this, and from how many rows on products are tiled.
  MatmulUnit matmul_limit = MatmulUnit::kCooperative;
  uint32_t matmul_min_rows = kMatmulMinRows;

 private:
  uint32_t own_subgroup() const { return device.info().subgroup; }
};

}  // namespace tandem::vulkan
