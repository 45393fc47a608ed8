// SPDX-License-Identifier: Apache-2.0
#include "vulkan/chain_check.h"

#include <algorithm>
#include <cstring>

#include "vulkan/recorder.h"
#include "vulkan/shaders/include/params.h"

namespace tandem::vulkan {
namespace {

constexpr uint32_t kSteps = 32;
constexpr uint32_t kWorkgroup = 256;
// Workgroups a unit, four times what common ones hold. A software device runs one after another.
constexpr uint32_t kPerUnit = 32;

void run(Device& device, std::vector<VkCommandBuffer> commands) {
  VkSubmitInfo submit{};
  submit.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
  submit.commandBufferCount = static_cast<uint32_t>(commands.size());
  submit.pCommandBuffers = commands.data();
  VK_TRY(vkQueueSubmit(device.queue(), 1, &submit, VK_NULL_HANDLE));
  VK_TRY(vkQueueWaitIdle(device.queue()));
}

}  // namespace

bool chain_holds(Context& context) {
  const uint32_t workgroups = context.units() * kPerUnit;
  const size_t size = workgroups * sizeof(uint32_t);
  // Two buffers that steps write in turn, and the counters.
  const Buffer values = context.memory.allocate(2 * size, Placement::kMapped, "a check");
  const size_t counter_size = (kSteps + 1) * kCounterStride * sizeof(uint32_t);
  const Buffer counters = context.memory.allocate(counter_size, Placement::kMapped, "a check");
  std::memset(values.host(), 0, 2 * size);
  std::memset(counters.host(), 0, counter_size);
  const Pipeline& pipeline =
      context.pipelines.get({.module = "chain_check",
                             .constants = {{kSpecWorkgroup, kWorkgroup}},
                             .push_constant_size = sizeof(ChainCheckParams)});
  CommandPool pool(context.device);
  Recorder recorder(pool);
  for (uint32_t step = 0; step < kSteps; ++step) {
    const ChainCheckParams push{.source = values.address() + step % 2 * size,
                                .target = values.address() + (step + 1) % 2 * size,
                                .chain = {counters.address(), step, step == 0 ? 0 : workgroups}};
    recorder.dispatch(pipeline, push, {workgroups, 1, 1}, {"chain check"});
  }
  recorder.barrier_to_host();
  run(context.device, recorder.finish());
  static_assert(kSteps % 2 == 0);
  const auto* results = reinterpret_cast<const uint32_t*>(values.host());
  const uint32_t flag = *reinterpret_cast<const uint32_t*>(counters.host());
  return flag == 0 &&
         std::all_of(results, results + workgroups, [](uint32_t value) { return value == kSteps; });
}

}  // namespace tandem::vulkan
