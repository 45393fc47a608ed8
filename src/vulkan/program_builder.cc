// SPDX-License-Identifier: Apache-2.0
#include "vulkan/program_builder.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace tandem::vulkan {

// Stands for memory where dispatches are listed, not run.
constexpr VkDeviceAddress kNowhere = 4096;

ProgramBuilder::ProgramBuilder(Context& context, Recorder& recorder, VkDeviceAddress batch,
                               VkDeviceAddress counters)
    : context_(context), recorder_(recorder), batch_(batch), counters_(counters) {}

const Pipeline& ProgramBuilder::pipeline(std::string_view module,
                                         std::vector<SpecConstant> constants,
                                         uint32_t push_constant_size) {
  return context_.pipelines.get({.module = module,
                                 .constants = std::move(constants),
                                 .push_constant_size = push_constant_size,
                                 .subgroup_size = context_.demanded_subgroup()});
}

void ProgramBuilder::order() {
  if (!first_) recorder_.barrier();
  first_ = false;
  wait_count_ = 0;
}

// A chained dispatch after another waits for its counter; after anything else there is a barrier.
Chain ProgramBuilder::next_chain(Grid grid) {
  if (!chained()) {
    order();
    return {};
  }
  const uint32_t wait_count = wait_count_;
  if (wait_count == 0) order();
  wait_count_ = grid.x * grid.y * grid.z;
  return {counters_, step_++, wait_count};
}

VkDeviceAddress ProgramBuilder::scratch(Scratch use, size_t size, bool zeroed) {
  if (recorder_.lists_only()) return kNowhere;
  ScratchPiece& piece = scratch_[static_cast<size_t>(use)];
  if (zeroed ? piece.size != size : piece.size < size)
    piece = context_.scratch.get(use, size, zeroed);
  return piece.address;
}

VkDeviceAddress ProgramBuilder::table_bytes(const void* values, size_t size) {
  if (recorder_.lists_only()) return kNowhere;
  Buffer buffer = context_.memory.allocate(size, Placement::kDevice, "tables");
  context_.memory.upload(buffer, 0, size, [&](std::span<std::byte> chunk, size_t first) {
    std::memcpy(chunk.data(), static_cast<const std::byte*>(values) + first, chunk.size());
  });
  buffers_.push_back(std::move(buffer));
  return buffers_.back().address();
}

Rows ProgramBuilder::stream(const Node& node, Rows x) {
  if (x.address != home_.address) {
    settle();
    home_ = now_ = x;
    stream_width_ = node.spec.config->hidden;
    stream_rows_ = node.spec.max_rows;
  }
  return now_;
}

Rows ProgramBuilder::other_stream(Rows x, uint32_t max_rows) {
  if (now_.address != home_.address) return home_;
  return {scratch(Scratch::kStream, size_t{max_rows} * x.stride * sizeof(float)), x.stride};
}

void ProgramBuilder::moved_stream(Rows x, Rows now) {
  TANDEM_CHECK(x.address == home_.address, "stream %zx moved", static_cast<size_t>(x.address));
  now_ = now;
  pending_.reset();
}

void ProgramBuilder::set_pending(Rows x, const PendingAdd& add) {
  TANDEM_CHECK(x.address == home_.address && !pending_, "stream %zx already has a pending sum",
               static_cast<size_t>(x.address));
  pending_ = add;
}

void ProgramBuilder::settle() {
  Norm norm;
  norm.width = stream_width_;
  norm.max_rows = stream_rows_;
  if (pending_) {
    norm.mode = kNormAdd;
    norm.x = {pending_->y, home_.stride};
    norm.weight = pending_->weight;
    norm.epsilon = pending_->epsilon;
    norm.base = now_;
    rms_norm(norm, home_);
    pending_.reset();
  } else if (now_.address != home_.address) {
    norm.mode = kNormCopy;
    norm.x = now_;
    rms_norm(norm, home_);
  }
  now_ = home_;
}

void ProgramBuilder::rms_norm(const Norm& norm, Rows target) {
  TANDEM_CHECK(norm.mode == kNormCopy || norm.width <= kWidestNorm, "a norm of %u", norm.width);
  RmsNormParams push{};
  push.batch = batch_;
  push.x = norm.x.address;
  push.weight = norm.weight;
  push.base = norm.base.address;
  push.target = target.address;
  push.width = norm.width;
  push.target_width = std::max(norm.width, norm.padded_width);
  push.x_stride = norm.x.stride;
  push.base_stride = norm.base.stride;
  push.target_stride = target.stride;
  push.epsilon = norm.epsilon;
  push.inverse_width = 1 / static_cast<float>(norm.width);
  const Pipeline& p = pipeline("rms_norm",
                               {{kSpecWorkgroup, context_.tuning.norm_workgroup},
                                {kSpecNormMode, norm.mode},
                                {kSpecOnOutputs, norm.on_outputs ? 1u : 0u}},
                               sizeof push);
  dispatch(p, push, {norm.max_rows, 1, 1},
           {"norm", uint64_t{norm.max_rows} * norm.width * sizeof(float) * 3, 0});
}

void ProgramBuilder::cut_if_long(const DispatchCost& cost) {
  seconds_ += static_cast<double>(cost.bytes) / context_.tuning.bytes_per_second +
              static_cast<double>(cost.operations) / context_.tuning.operations_per_second;
  if (seconds_ < kLongest) return;
  recorder_.cut();
  seconds_ = 0;
}

}  // namespace tandem::vulkan
