// Records command buffers: dispatches, exact barriers, timestamps. What is recorded is submitted
// many times.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "vulkan/api.h"
#include "vulkan/device.h"
#include "vulkan/pipeline.h"

namespace tandem::vulkan {

struct Grid {
  uint32_t x = 1, y = 1, z = 1;
};

// What a dispatch is for, and an estimate of its work at full rows: for reports, and for cutting
// long submissions.
struct DispatchCost {
  std::string_view label;   // static text: "qkv", "core"
  uint64_t bytes = 0;       // read and written once each
  uint64_t operations = 0;  // multiply-adds times two
};

struct RecordedDispatch {
  DispatchCost cost;
  const Pipeline* pipeline = nullptr;
  uint32_t timestamp = 0;  // index of the query before it; the next index is after it
};

struct RecorderStatistics {
  uint32_t dispatches = 0, barriers = 0;
  uint64_t bytes = 0;
};

// Command buffers that can be submitted again before an earlier submission has finished.
class CommandPool {
 public:
  explicit CommandPool(Device& device);
  ~CommandPool();
  CommandPool(const CommandPool&) = delete;
  CommandPool& operator=(const CommandPool&) = delete;
  VkCommandBuffer allocate();

 private:
  Device& device_;
  VkCommandPool pool_ = VK_NULL_HANDLE;
};

// Records into one command buffer after another; cut() ends one and begins the next. The first
// command of all is a barrier against what was submitted before.
class Recorder {
 public:
  // Keeps the list of dispatches only, with no command buffer.
  Recorder() = default;
  // With `queries`, a timestamp is written before each dispatch and after the last.
  Recorder(CommandPool& pool, VkQueryPool queries = VK_NULL_HANDLE, uint32_t query_capacity = 0);

  template <typename Push>
  void dispatch(const Pipeline& pipeline, const Push& push, Grid grid, const DispatchCost& cost) {
    dispatch_bytes(pipeline, &push, sizeof(Push), grid, cost);
  }
  // Writes of the dispatches before are visible to those after.
  void barrier();
  // Writes of the dispatches before are visible to the host once the submission has finished.
  void barrier_to_host();
  void cut();
  // Ends recording. The recorder is spent.
  std::vector<VkCommandBuffer> finish();

  bool lists_only() const { return pool_ == nullptr; }
  const RecorderStatistics& statistics() const { return statistics_; }
  const std::vector<RecordedDispatch>& dispatches() const { return dispatches_; }

 private:
  void begin();
  void dispatch_bytes(const Pipeline& pipeline, const void* push, size_t size, Grid grid,
                      const DispatchCost& cost);
  void memory_barrier(VkPipelineStageFlags2 stage, VkAccessFlags2 access);
  void timestamp();

  CommandPool* pool_ = nullptr;
  VkQueryPool queries_ = VK_NULL_HANDLE;
  uint32_t query_capacity_ = 0, query_count_ = 0;
  VkCommandBuffer commands_ = VK_NULL_HANDLE;
  std::vector<VkCommandBuffer> finished_;
  RecorderStatistics statistics_;
  std::vector<RecordedDispatch> dispatches_;
};

}  // namespace tandem::vulkan
