// A recorded run of nodes: command buffers and the memory they use.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "backend/backend.h"
#include "vulkan/memory.h"
#include "vulkan/recorder.h"

namespace tandem::vulkan {

class VulkanProgram : public Program {
 public:
  explicit VulkanProgram(Device& device) : device_(device), pool_(device) {}
  ~VulkanProgram() override;

  // Timestamps for up to `count` dispatches.
  void create_queries(uint32_t count);
  // Microseconds of each dispatch of the last submission; empty without queries.
  std::vector<double> dispatch_times() const;

  CommandPool& pool() { return pool_; }
  VkQueryPool queries() const { return queries_; }

  std::vector<VkCommandBuffer> begin, round;  // once a submission, once a round
  std::vector<VkCommandBuffer> chained;       // a round whose dispatches wait for each other
  uint32_t together = 1;                      // rounds that are short enough for one submission
  std::vector<Buffer> buffers;                // tables
  Buffer batch;                               // the device's copy
  Buffer counters;                            // of the chain; host() reads the failure flag
  RecorderStatistics statistics;
  std::vector<RecordedDispatch> dispatches;
  uint64_t last_ticket = 0;

 private:
  Device& device_;
  CommandPool pool_;
  VkQueryPool queries_ = VK_NULL_HANDLE;
  uint32_t query_count_ = 0;
};

}  // namespace tandem::vulkan
