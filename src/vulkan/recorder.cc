// SPDX-License-Identifier: Apache-2.0
#include "vulkan/recorder.h"

#include "base/check.h"

namespace tandem::vulkan {

CommandPool::CommandPool(Device& device) : device_(device) {
  VkCommandPoolCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO;
  info.queueFamilyIndex = device.queue_family();
  VK_TRY(vkCreateCommandPool(device.handle(), &info, nullptr, &pool_));
}

CommandPool::~CommandPool() { vkDestroyCommandPool(device_.handle(), pool_, nullptr); }

VkCommandBuffer CommandPool::allocate() {
  VkCommandBufferAllocateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
  info.commandPool = pool_;
  info.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
  info.commandBufferCount = 1;
  VkCommandBuffer commands = VK_NULL_HANDLE;
  VK_TRY(vkAllocateCommandBuffers(device_.handle(), &info, &commands));
  return commands;
}

Recorder::Recorder(CommandPool& pool, VkQueryPool queries, uint32_t query_capacity)
    : pool_(&pool), queries_(queries), query_capacity_(query_capacity) {
  begin();
  if (queries_ != VK_NULL_HANDLE) vkCmdResetQueryPool(commands_, queries_, 0, query_capacity_);
  // Programs share scratch memory, so each waits for the one before.
  barrier();
}

void Recorder::begin() {
  commands_ = pool_->allocate();
  VkCommandBufferBeginInfo info{};
  info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
  info.flags = VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT;
  VK_TRY(vkBeginCommandBuffer(commands_, &info));
}

void Recorder::timestamp() {
  if (queries_ == VK_NULL_HANDLE || query_count_ >= query_capacity_) return;
  vkCmdWriteTimestamp2(commands_, VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT, queries_, query_count_++);
}

void Recorder::dispatch_bytes(const Pipeline& pipeline, const void* push, size_t size, Grid grid,
                              const DispatchCost& cost) {
  TANDEM_CHECK(size == pipeline.push_constant_size, "%s takes %u bytes of push constants, not %zu",
               pipeline.name.c_str(), pipeline.push_constant_size, size);
  dispatches_.push_back({cost, &pipeline, query_count_});
  ++statistics_.dispatches;
  statistics_.bytes += cost.bytes;
  if (pool_ == nullptr) return;
  timestamp();
  vkCmdBindPipeline(commands_, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.handle);
  vkCmdPushConstants(commands_, pipeline.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                     static_cast<uint32_t>(size), push);
  vkCmdDispatch(commands_, grid.x, grid.y, grid.z);
}

// Exact stages and accesses: the all-commands form costs 2.5 times as much on an H200.
void Recorder::memory_barrier(VkPipelineStageFlags2 stage, VkAccessFlags2 access) {
  ++statistics_.barriers;
  if (pool_ == nullptr) return;
  VkMemoryBarrier2 barrier{};
  barrier.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER_2;
  barrier.srcStageMask = VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT;
  barrier.srcAccessMask = VK_ACCESS_2_SHADER_STORAGE_WRITE_BIT;
  barrier.dstStageMask = stage;
  barrier.dstAccessMask = access;
  VkDependencyInfo dependency{};
  dependency.sType = VK_STRUCTURE_TYPE_DEPENDENCY_INFO;
  dependency.memoryBarrierCount = 1;
  dependency.pMemoryBarriers = &barrier;
  vkCmdPipelineBarrier2(commands_, &dependency);
}

void Recorder::barrier() {
  memory_barrier(VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT,
                 VK_ACCESS_2_SHADER_STORAGE_READ_BIT | VK_ACCESS_2_SHADER_STORAGE_WRITE_BIT);
}

void Recorder::barrier_to_host() {
  memory_barrier(VK_PIPELINE_STAGE_2_HOST_BIT, VK_ACCESS_2_HOST_READ_BIT);
}

void Recorder::cut() {
  if (pool_ == nullptr) return;
  VK_TRY(vkEndCommandBuffer(commands_));
  finished_.push_back(commands_);
  begin();
}

std::vector<VkCommandBuffer> Recorder::finish() {
  if (pool_ == nullptr) return {};
  timestamp();
  VK_TRY(vkEndCommandBuffer(commands_));
  finished_.push_back(commands_);
  commands_ = VK_NULL_HANDLE;
  return std::move(finished_);
}

}  // namespace tandem::vulkan
