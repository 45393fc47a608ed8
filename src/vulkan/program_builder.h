// Turns a run of nodes into dispatches: keeps the order between them, the scratch memory they
// share, and the residual additions put off to the next dispatch that reads the stream.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <concepts>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "vulkan/context.h"
#include "vulkan/recorder.h"
#include "vulkan/scratch_pool.h"
#include "vulkan/shaders/include/params.h"
#include "vulkan/weights.h"

namespace tandem::vulkan {

// Rows of f32 on the device.
struct Rows {
  VkDeviceAddress address = 0;
  uint32_t stride = 0;  // elements

  // Whether shaders may read each row in quads.
  bool aligned() const { return address % 16 == 0 && stride % 4 == 0; }
};

// A sum that is still to be made: stream += y / rms(y) * weight.
struct PendingAdd {
  VkDeviceAddress y = 0;  // its rows lie as those of the stream
  VkDeviceAddress weight = 0;
  float epsilon = 0;
  bool ends_layer = false;  // a plan may cut the model there
};

// One dispatch of rms_norm.comp.
struct Norm {
  uint32_t mode = 0;  // kNorm...
  Rows x;
  VkDeviceAddress weight = 0;
  float epsilon = 0;
  Rows base;  // kNormAdd
  uint32_t width = 0, max_rows = 0;
  bool on_outputs = false;
  uint32_t padded_width = 0;  // zeros from `width` up to here
};

// One node as ops record it.
struct Node {
  const OpSpec& spec;
  const VulkanWeights* weights;
  std::span<const Rows> rows;         // the f32 arguments
  std::span<const TensorView> views;  // all arguments
  std::span<const VkDeviceAddress> addresses;
};

class ProgramBuilder {
 public:
  // `batch` is the device's copy of the batch buffer, `counters` those of the chain (0: none).
  ProgramBuilder(Context& context, Recorder& recorder, VkDeviceAddress batch,
                 VkDeviceAddress counters);

  Context& context() { return context_; }
  VkDeviceAddress batch() const { return batch_; }
  bool chained() const { return counters_ != 0; }
  VkDeviceAddress counters() const { return counters_; }

  const Pipeline& pipeline(std::string_view module, std::vector<SpecConstant> constants,
                           uint32_t push_constant_size);

  // Records a dispatch that sees what all dispatches before it wrote. One whose push constants
  // hold a Chain waits by itself where the program is chained.
  template <typename Push>
  void dispatch(const Pipeline& pipeline, Push push, Grid grid, const DispatchCost& cost) {
    if constexpr (requires { push.chain; }) {
      push.chain = next_chain(grid);
    } else {
      order();
    }
    recorder_.dispatch(pipeline, push, grid, cost);
    cut_if_long(cost);
  }

  // At least `size` bytes, shared with other programs; `zeroed` once, when the memory is made, and
  // left so by every program.
  VkDeviceAddress scratch(Scratch use, size_t size, bool zeroed = false);

  // The rows where the residual stream of `x` is now, which is `x` itself or scratch memory.
  Rows stream(const Node& node, Rows x);
  // Where a dispatch that reads the stream and makes the pending sum writes it.
  Rows other_stream(Rows x, uint32_t max_rows);
  // Says that the stream of `x` is in `now`, and nothing is pending.
  void moved_stream(Rows x, Rows now);
  void set_pending(Rows x, const PendingAdd& add);
  const std::optional<PendingAdd>& pending() const { return pending_; }
  // Makes pending sums and brings the stream back to its own rows.
  void settle();

  // Estimated, of the command buffer being recorded.
  double seconds() const { return seconds_; }
  // As long as a submission should take: half the limit of half a second, since estimates err and
  // one more dispatch follows.
  static constexpr double kLongest = 0.25;

  // Tables the program must keep.
  std::vector<Buffer> take_buffers() { return std::move(buffers_); }

  // Constant data for shaders, kept with the program.
  template <typename T>
  VkDeviceAddress table(const T& values) {
    return table_bytes(&values, sizeof values);
  }

  void rms_norm(const Norm& norm, Rows target);

 private:
  VkDeviceAddress table_bytes(const void* values, size_t size);
  void order();
  Chain next_chain(Grid grid);
  void cut_if_long(const DispatchCost& cost);

  Context& context_;
  Recorder& recorder_;
  VkDeviceAddress batch_, counters_;
  uint32_t step_ = 0;        // chain counters used
  uint32_t wait_count_ = 0;  // workgroups of the chained dispatch before; 0: it was not chained
  bool first_ = true;
  std::array<ScratchPiece, kScratchCount> scratch_{};  // of this program, by use
  std::vector<Buffer> buffers_;
  Rows home_, now_;  // the stream's own rows, and where it is
  uint32_t stream_width_ = 0, stream_rows_ = 0;
  std::optional<PendingAdd> pending_;
  double seconds_ = 0;
};

}  // namespace tandem::vulkan
