// SPDX-License-Identifier: Apache-2.0
#include "vulkan/program.h"

namespace tandem::vulkan {

VulkanProgram::~VulkanProgram() {
  // A submission may still run; after a lost device this returns at once.
  if (last_ticket != 0) vkQueueWaitIdle(device_.queue());
  vkDestroyQueryPool(device_.handle(), queries_, nullptr);
}

void VulkanProgram::create_queries(uint32_t count) {
  VkQueryPoolCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO;
  info.queryType = VK_QUERY_TYPE_TIMESTAMP;
  info.queryCount = query_count_ = count + 1;
  VK_TRY(vkCreateQueryPool(device_.handle(), &info, nullptr, &queries_));
}

std::vector<double> VulkanProgram::dispatch_times() const {
  if (queries_ == VK_NULL_HANDLE || last_ticket == 0) return {};
  const uint32_t count = static_cast<uint32_t>(dispatches.size()) + 1;
  std::vector<uint64_t> ticks(count);
  VK_TRY(vkGetQueryPoolResults(device_.handle(), queries_, 0, count, count * sizeof(uint64_t),
                               ticks.data(), sizeof(uint64_t), VK_QUERY_RESULT_64_BIT));
  std::vector<double> times;
  for (uint32_t i = 0; i + 1 < count; ++i)
    times.push_back(static_cast<double>(ticks[i + 1] - ticks[i]) * device_.info().timestamp_ns *
                    1e-3);
  return times;
}

}  // namespace tandem::vulkan
