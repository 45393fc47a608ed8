// SPDX-License-Identifier: Apache-2.0
#include "hybrid/slot.h"

#include <algorithm>

#include "base/check.h"

namespace tandem {
namespace {

constexpr uint32_t kBatchColumns = 4;  // u32 fields of a BatchHeader or BatchRow

std::array<uint32_t, 3> batch_dims(const CoordinatorShape& shape) {
  return {1, 1 + shape.max_rows, kBatchColumns};
}

constexpr bool in_slot(Operand o) { return !is_kv(o) && !is_scratch(o); }

}  // namespace

std::array<uint32_t, 3> operand_dims(Operand operand, const ModelConfig& config,
                                     const CoordinatorShape& shape) {
  if (operand == Operand::kIds) return {1, shape.max_rounds, shape.max_outputs};
  return {1, counts_outputs(operand) ? shape.max_outputs : shape.max_rows,
          operand_width(operand, config.common())};
}

DType operand_dtype(Operand operand) {
  return operand == Operand::kIds ? DType::kI32 : DType::kF32;
}

std::vector<uint32_t> windows_of(const ModelConfig& config) {
  std::vector<uint32_t> windows;
  for (const LayerConfig& layer : config.layers)
    if (std::find(windows.begin(), windows.end(), layer.window) == windows.end())
      windows.push_back(layer.window);
  return windows;
}

size_t Slot::size_of(const ModelConfig& config, const CoordinatorShape& shape) {
  size_t total = Arena::size_of(DType::kI32, batch_dims(shape));
  for (uint32_t i = 0; i < kOperandCount; ++i) {
    const auto operand = static_cast<Operand>(i);
    if (in_slot(operand))
      total += Arena::size_of(operand_dtype(operand), operand_dims(operand, config, shape));
  }
  return total;
}

Slot::Slot(const ModelConfig& config, const CoordinatorShape& shape)
    : memory_(std::make_unique<SharedMemory>(size_of(config, shape), "activations")),
      shape_(shape),
      ids_(size_t{shape.max_rounds} * shape.max_outputs) {
  Arena arena(*memory_);
  batch_ = arena.allocate(DType::kI32, batch_dims(shape));
  for (uint32_t i = 0; i < kOperandCount; ++i) {
    const auto operand = static_cast<Operand>(i);
    if (in_slot(operand))
      operands_[i] = arena.allocate(operand_dtype(operand), operand_dims(operand, config, shape));
  }
  extents_.reserve(shape.sequences);
  for (uint32_t window : windows_of(config)) window_uses_.push_back({window, 0, 0});
}

void Slot::write(std::span<const StepRow> rows) {
  TANDEM_CHECK(rows.size() <= shape_.max_rows, "%zu rows, room for %u", rows.size(),
               shape_.max_rows);
  row_count_ = static_cast<uint32_t>(rows.size());
  output_count_ = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    TANDEM_DCHECK(rows[i].sequence < shape_.sequences && rows[i].position < shape_.context,
                  "sequence %u position %u", rows[i].sequence, rows[i].position);
    BatchRow& record = *batch_.row_as<BatchRow>(static_cast<uint32_t>(i) + 1);
    record.token = rows[i].token;
    record.sequence = rows[i].sequence;
    record.position = rows[i].position;
    if (!rows[i].output) continue;
    TANDEM_CHECK(output_count_ < shape_.max_outputs, "more than %u outputs", shape_.max_outputs);
    batch_.row_as<BatchRow>(++output_count_)->output_row = static_cast<uint32_t>(i);
  }
  *batch_.row_as<BatchHeader>(0) = {row_count_, output_count_, 0, 0};
  note_extents();
}

void Slot::feed_back() {
  const int32_t* next = operand(Operand::kIds).row_as<int32_t>(0);
  for (uint32_t i = 0; i < output_count_; ++i) {
    BatchRow& row = *batch_.row_as<BatchRow>(1 + batch_.row_as<BatchRow>(1 + i)->output_row);
    row.token = static_cast<uint32_t>(next[i]);
    ++row.position;
  }
  note_extents();
}

void Slot::keep_ids(uint32_t round, uint32_t count) {
  for (uint32_t r = 0; r < count; ++r)
    std::copy_n(operand(Operand::kIds).row_as<int32_t>(r), output_count_,
                ids_.data() + size_t{round + r} * output_count_);
}

size_t Slot::used_size(Operand o, uint32_t rounds) const {
  const TensorView& view = operand(o);
  if (o == Operand::kIds) return rounds * view.strides[1];
  return (counts_outputs(o) ? output_count_ : row_count_) * view.strides[1];
}

void Slot::note_extents() {
  extents_.clear();
  for (WindowUse& use : window_uses_) use.attended = use.visible = 0;
  for (uint32_t i = 0; i < row_count_; ++i) {
    const BatchRow& row = *batch_.row_as<BatchRow>(1 + i);
    const auto extent =
        std::find_if(extents_.begin(), extents_.end(),
                     [&](const SequenceExtent& e) { return e.sequence == row.sequence; });
    if (extent == extents_.end())
      extents_.push_back({row.sequence, row.position, row.position + 1});
    else
      extent->end = row.position + 1;
    for (WindowUse& use : window_uses_) {
      const uint32_t seen = row.position + 1;
      use.attended += use.window == 0 ? seen : std::min(seen, use.window);
    }
  }
  for (const SequenceExtent& e : extents_)
    for (WindowUse& use : window_uses_)
      use.visible += use.window == 0 ? e.end : std::min(e.end, e.end - e.first - 1 + use.window);
}

}  // namespace tandem
