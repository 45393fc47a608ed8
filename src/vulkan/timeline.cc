// SPDX-License-Identifier: Apache-2.0
#include "vulkan/timeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace tandem::vulkan {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMostBuffers = 64;  // of one vkQueueSubmit2

}  // namespace

Timeline::Timeline(Device& device, uint32_t spin_us) : device_(device), spin_(spin_us) {
  VkSemaphoreTypeCreateInfo type{};
  type.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO;
  type.semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE;
  VkSemaphoreCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO;
  info.pNext = &type;
  VK_TRY(vkCreateSemaphore(device_.handle(), &info, nullptr, &semaphore_));
}

Timeline::~Timeline() {
  vkDeviceWaitIdle(device_.handle());
  vkDestroySemaphore(device_.handle(), semaphore_, nullptr);
}

void Timeline::fail(VkResult result, const char* call) noexcept {
  VkResult none = VK_SUCCESS;
  if (lost_.compare_exchange_strong(none, result)) lost_call_ = call;
}

bool Timeline::submit_some(std::span<const VkCommandBuffer> commands, bool last) noexcept {
  std::array<VkCommandBufferSubmitInfo, kMostBuffers> buffers{};
  for (size_t i = 0; i < commands.size(); ++i) {
    buffers[i].sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO;
    buffers[i].commandBuffer = commands[i];
  }
  VkSemaphoreSubmitInfo signal{};
  signal.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO;
  signal.semaphore = semaphore_;
  signal.value = next_;
  signal.stageMask = VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT;
  VkSubmitInfo2 submit{};
  submit.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO_2;
  submit.commandBufferInfoCount = static_cast<uint32_t>(commands.size());
  submit.pCommandBufferInfos = buffers.data();
  submit.signalSemaphoreInfoCount = last ? 1 : 0;
  submit.pSignalSemaphoreInfos = &signal;
  const VkResult result = vkQueueSubmit2(device_.queue(), 1, &submit, VK_NULL_HANDLE);
  if (result != VK_SUCCESS) fail(result, "vkQueueSubmit2");
  return result == VK_SUCCESS;
}

uint64_t Timeline::submit(const Commands& commands, uint32_t rounds) noexcept {
  std::array<VkCommandBuffer, kMostBuffers> some;
  const size_t begins = commands.begin.size();
  const size_t total = begins + commands.round.size() * rounds;
  const size_t most = std::min(kMostBuffers, begins + commands.together);
  size_t count = 0;
  bool good = true;
  for (size_t i = 0; i < total && good; ++i) {
    some[count++] =
        i < begins ? commands.begin[i] : commands.round[(i - begins) % commands.round.size()];
    if (count < most && i + 1 < total) continue;
    good = submit_some({some.data(), count}, i + 1 == total);
    count = 0;
  }
  chain_flag_ = commands.chain_flag;
  return next_++;
}

VkResult Timeline::wait_for(uint64_t value, std::chrono::microseconds timeout) noexcept {
  const Clock::time_point start = Clock::now();
  uint64_t reached = 0;
  while (true) {
    const VkResult result = vkGetSemaphoreCounterValue(device_.handle(), semaphore_, &reached);
    if (result != VK_SUCCESS || reached >= value) return result;
    if (Clock::now() - start >= std::min(spin_, timeout)) break;
  }
  const auto left = timeout - std::min(spin_, timeout);
  VkSemaphoreWaitInfo info{};
  info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO;
  info.semaphoreCount = 1;
  info.pSemaphores = &semaphore_;
  info.pValues = &value;
  const auto nanoseconds =
      static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(left).count());
  return vkWaitSemaphores(device_.handle(), &info, nanoseconds);
}

Status Timeline::wait(uint64_t value, std::chrono::microseconds timeout) noexcept {
  if (lost_ != VK_SUCCESS) return Status::kDeviceLost;
  const VkResult result = wait_for(value, timeout);
  if (result == VK_TIMEOUT) {
    timed_out_ = true;
    return Status::kTimeout;
  }
  if (result != VK_SUCCESS) {
    fail(result, "vkWaitSemaphores");
    return Status::kDeviceLost;
  }
  const uint32_t* flag = chain_flag_;
  if (flag != nullptr && *static_cast<const volatile uint32_t*>(flag) != 0) {
    chain_broken_ = true;
    return Status::kDeviceLost;
  }
  return Status::kDone;
}

std::string Timeline::failure() const {
  const std::string& name = device_.info().name;
  if (lost_ != VK_SUCCESS)
    return fmt::format(
        "{} was lost ({} answered {}): the GPU or its driver reset; run the request again, or with "
        "--device cpu",
        name, lost_call_.load(), result_name(lost_));
  if (chain_broken_)
    return fmt::format(
        "workgroups on {} did not run in the order they were submitted; run the request again: "
        "barriers order them from now on",
        name);
  if (timed_out_) return fmt::format("{} did not finish a step in time", name);
  return {};
}

}  // namespace tandem::vulkan
