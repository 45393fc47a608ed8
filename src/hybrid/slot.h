// Memory for one step in flight: the batch buffer, and the activations that nodes pass on.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backend/op.h"
#include "hybrid/step.h"
#include "model/blocks.h"
#include "model/config.h"
#include "tensor/shared_memory.h"

namespace tandem {

std::array<uint32_t, 3> operand_dims(Operand operand, const ModelConfig& config,
                                     const CoordinatorShape& shape);
DType operand_dtype(Operand operand);

// The positions of one sequence in a step: [first, end).
struct SequenceExtent {
  uint32_t sequence = 0, first = 0, end = 0;
};

// What attention of one window reads, summed over a step: positions for each row, and positions
// that any row of a sequence sees.
struct WindowUse {
  uint32_t window = 0;
  uint64_t attended = 0, visible = 0;
};

class Slot {
 public:
  // Scratch operands are not here: they belong to a device, not to a step.
  Slot(const ModelConfig& config, const CoordinatorShape& shape);
  static size_t size_of(const ModelConfig& config, const CoordinatorShape& shape);

  // Makes these the step's rows.
  void write(std::span<const StepRow> rows);
  // The argmax of each output becomes the token of its row, one position on.
  void feed_back();
  // Copies the `count` rounds of ids that the device wrote to where ids(round), .. finds them.
  void keep_ids(uint32_t round, uint32_t count);

  uint32_t row_count() const { return row_count_; }
  uint32_t output_count() const { return output_count_; }
  const TensorView& batch() const { return batch_; }
  const TensorView& operand(Operand o) const { return operands_[static_cast<size_t>(o)]; }
  size_t batch_size() const { return (1 + size_t{row_count_}) * sizeof(BatchRow); }
  // Bytes of an operand that the step uses; `rounds` of them for ids.
  size_t used_size(Operand o, uint32_t rounds) const;

  std::span<const WindowUse> window_uses() const { return window_uses_; }
  std::span<const int32_t> ids(uint32_t round) const {
    return {ids_.data() + size_t{round} * output_count_, output_count_};
  }

  // The device's handle on the slot's memory; made by the first call, which is not for hot paths.
  Import& import_on(Importer& device) { return memory_->import_for(device); }
  size_t size() const { return memory_->size(); }

 private:
  void note_extents();

  std::unique_ptr<SharedMemory> memory_;
  std::array<TensorView, kOperandCount> operands_{};  // scratch and the cache's stay empty
  TensorView batch_;
  CoordinatorShape shape_;
  uint32_t row_count_ = 0, output_count_ = 0;
  std::vector<SequenceExtent> extents_;
  std::vector<WindowUse> window_uses_;  // one per distinct window, in the order of windows_of()
  std::vector<int32_t> ids_;
};

// The distinct windows of a model's layers, in the order they first occur.
std::vector<uint32_t> windows_of(const ModelConfig& config);

}  // namespace tandem
