// Submissions and waits on one queue, ordered by a timeline semaphore.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>

#include "backend/backend.h"
#include "vulkan/api.h"
#include "vulkan/device.h"

namespace tandem::vulkan {

// What a program submits.
struct Commands {
  std::span<const VkCommandBuffer> begin;  // once
  std::span<const VkCommandBuffer> round;  // for every round
  uint32_t together = 1;  // command buffers of rounds that a driver's watchdog may see as one
  // Null, or the word that a chained wait which ran out sets; looked at by wait().
  const uint32_t* chain_flag = nullptr;
};

class Timeline {
 public:
  // Waits poll for `spin_us` before they sleep.
  Timeline(Device& device, uint32_t spin_us);
  ~Timeline();
  Timeline(const Timeline&) = delete;
  Timeline& operator=(const Timeline&) = delete;

  // Runs `begin` once, then `round` so many times. The value to wait for; a failed submission is
  // told by wait().
  uint64_t submit(const Commands& commands, uint32_t rounds) noexcept;
  // From any thread.
  Status wait(uint64_t value, std::chrono::microseconds timeout) noexcept;
  // What failed, once wait() has said so.
  std::string failure() const;
  // Whether a chained wait has run out.
  bool chain_broken() const { return chain_broken_; }

 private:
  bool submit_some(std::span<const VkCommandBuffer> commands, bool last) noexcept;
  VkResult wait_for(uint64_t value, std::chrono::microseconds timeout) noexcept;
  void fail(VkResult result, const char* call) noexcept;

  Device& device_;
  std::chrono::microseconds spin_;
  VkSemaphore semaphore_ = VK_NULL_HANDLE;
  uint64_t next_ = 1;
  std::atomic<const uint32_t*> chain_flag_{nullptr};
  std::atomic<VkResult> lost_{VK_SUCCESS};
  std::atomic<const char*> lost_call_{nullptr};
  std::atomic<bool> timed_out_{false}, chain_broken_{false};
};

}  // namespace tandem::vulkan
