// kMatmul: the activations are quantised once, then tiles of all matrices are shared out.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "base/check.h"
#include "cpu/ops.h"

namespace tandem::cpu {
namespace {

// Up to this many activations every thread quantises for itself: that takes less time than one
// thread doing it while the others wait at a barrier.
constexpr size_t kPrivateElements = 16384;

// Parts of QuantizedRows lie one after the other; four arrays of 4-byte elements follow the quants.
size_t quantized_size(size_t elements) {
  return align_up(elements) + 3 * align_up(elements / kBlock * 4) + align_up(elements / 16 * 4);
}

QuantizedRows place_quantized(std::byte* memory, size_t elements) {
  const auto take = [&](size_t bytes) {
    std::byte* at = memory;
    memory += align_up(bytes);
    return at;
  };
  const size_t blocks = elements / kBlock;
  QuantizedRows rows{};
  rows.quants = reinterpret_cast<int8_t*>(take(elements));
  rows.scales = reinterpret_cast<float*>(take(blocks * 4));
  rows.scaled_sums = reinterpret_cast<float*>(take(blocks * 4));
  rows.minus_sums = reinterpret_cast<int32_t*>(take(blocks * 4));
  rows.minus_halves = reinterpret_cast<int32_t*>(take(elements / 16 * 4));
  return rows;
}

class MatmulOp : public CpuKernel {
 public:
  MatmulOp(const OpSpec& spec, const CpuWeights& weights, const Kernels& kernels, uint32_t threads)
      : CpuKernel(spec), kernels_(kernels), inputs_(weights.matrices[0].inputs) {
    uint32_t tiles = 0;
    for (const PackedMatrix& matrix : weights.matrices) tiles += matrix.tile_count();
    // Some tasks per thread, so that a thread that was held up is not waited for; an even number
    // of tiles, since kernels take them in pairs.
    tiles_per_task_ = std::clamp(tiles / (threads * 8) / 2 * 2, 2u, 16u);
    uint32_t column = 0;
    for (const PackedMatrix& matrix : weights.matrices) {
      TANDEM_CHECK(matrix.inputs == inputs_, "matrices of %u and %u inputs", inputs_,
                   matrix.inputs);
      const uint32_t tasks = (matrix.tile_count() + tiles_per_task_ - 1) / tiles_per_task_;
      parts_.push_back({&matrix, column, task_count_});
      task_count_ += tasks;
      column += matrix.outputs;
      quantizes_ |= !takes_floats(matrix.kind);
    }
    outputs_ = column;
  }

  ScratchSize bind(std::span<const TensorView> args) const override {
    check_operand(args[0], DType::kF32, max_rows(), outputs_);
    check_operand(args[1], DType::kF32, max_rows(), inputs_);
    const size_t elements = size_t{max_rows()} * inputs_;
    const size_t own = align_up(inputs_ * sizeof(float)) +
                       (quantizes_ ? quantized_size(std::min(elements, kPrivateElements)) : 0);
    return {quantizes_ && elements > kPrivateElements ? quantized_size(elements) : 0, own};
  }

  uint32_t stage_count() const override { return 2; }

  // Stage 0 quantises a row a task, stage 1 multiplies.
  uint32_t task_count(const Run& run, std::span<const TensorView>,
                      uint32_t stage) const noexcept override {
    if (row_count(run) == 0) return 0;
    if (stage == 1) return task_count_;
    return quantizes_ && !is_private(run) ? row_count(run) : 0;
  }

  void enter(const Run& run, std::span<const TensorView> args,
             uint32_t stage) const noexcept override {
    if (stage == 0 || !quantizes_ || !is_private(run)) return;
    for (uint32_t row = 0; row < row_count(run); ++row) quantize_row(run, args, row);
  }

  void run_task(const Run& run, std::span<const TensorView> args, uint32_t stage,
                uint32_t task) const noexcept override {
    if (stage == 0) return quantize_row(run, args, task);
    size_t index = parts_.size() - 1;
    while (parts_[index].first_task > task) --index;
    const Part& part = parts_[index];
    const PackedMatrix& matrix = *part.matrix;
    MatmulCall call{};
    call.kind = matrix.kind;
    call.weights = matrix.memory->data();
    call.rows = row_count(run);
    call.inputs = inputs_;
    call.outputs = matrix.outputs;
    call.floats = args[1].row_as<float>(0);
    call.floats_stride = args[1].strides[1] / sizeof(float);
    call.quantized = quantized(run);
    call.out = args[0].row_as<float>(0) + part.first_column;
    call.out_stride = args[0].strides[1] / sizeof(float);
    call.scratch = reinterpret_cast<float*>(run.own);
    const uint32_t first_tile = (task - part.first_task) * tiles_per_task_;
    kernels_.matmul[static_cast<size_t>(matrix.kind)](
        call, first_tile, std::min(tiles_per_task_, matrix.tile_count() - first_tile));
  }

 private:
  struct Part {
    const PackedMatrix* matrix;
    uint32_t first_column, first_task;
  };

  bool is_private(const Run& run) const {
    return size_t{row_count(run)} * inputs_ <= kPrivateElements;
  }

  QuantizedRows quantized(const Run& run) const {
    std::byte* memory = is_private(run) ? run.own + align_up(inputs_ * sizeof(float)) : run.shared;
    return place_quantized(memory, size_t{row_count(run)} * inputs_);
  }

  void quantize_row(const Run& run, std::span<const TensorView> args, uint32_t row) const {
    const QuantizedRows all = quantized(run);
    const size_t at = size_t{row} * inputs_, block = at / kBlock;
    kernels_.quantize({all.quants + at, all.scales + block, all.scaled_sums + block,
                       all.minus_sums + block, all.minus_halves + at / 16},
                      args[1].row_as<float>(row), inputs_);
  }

  const Kernels& kernels_;
  uint32_t inputs_, outputs_ = 0;
  uint32_t tiles_per_task_ = 1, task_count_ = 0;
  bool quantizes_ = false;
  std::vector<Part> parts_;
};

}  // namespace

std::unique_ptr<CpuKernel> make_matmul_op(const OpSpec& spec, const CpuWeights& weights,
                                          const Kernels& kernels, uint32_t threads) {
  return std::make_unique<MatmulOp>(spec, weights, kernels, threads);
}

}  // namespace tandem::cpu
