// The ops that treat each row by itself: embedding, norms, the gate of the FFN, gathering.
// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "base/check.h"
#include "cpu/ops.h"
#include "tensor/quantize.h"

namespace tandem::cpu {
namespace {

// A task is a row.
class RowOp : public CpuKernel {
 public:
  RowOp(const OpSpec& spec, const Kernels& kernels) : CpuKernel(spec), kernels_(kernels) {}

  uint32_t task_count(const Run& run, std::span<const TensorView>,
                      uint32_t) const noexcept override {
    return row_count(run);
  }

 protected:
  const Kernels& kernels_;
};

// x[r] = table[token of r] * scale
class EmbedOp : public RowOp {
 public:
  EmbedOp(const OpSpec& spec, const CpuWeights& weights, const Kernels& kernels)
      : RowOp(spec, kernels), table_(weights.table) {}

  ScratchSize bind(std::span<const TensorView> args) const override {
    check_operand(args[0], DType::kF32, max_rows(), table_.cols());
    return {};
  }
  void run_task(const Run& run, std::span<const TensorView> args, uint32_t,
                uint32_t row) const noexcept override {
    const uint32_t token = run.rows[row].token;
    TANDEM_CHECK(token < table_.rows(), "token %u of %u", token, table_.rows());
    float* x = args[0].row_as<float>(row);
    dequantize_row(table_.dtype, table_.row(0, token), x, table_.cols());
    for (uint32_t i = 0; i < table_.cols(); ++i) x[i] *= spec().config->embedding_scale;
  }

 private:
  TensorView table_;
};

// kRmsNorm and kRmsNormAdd
class NormOp : public RowOp {
 public:
  NormOp(const OpSpec& spec, const CpuWeights& weights, const Kernels& kernels)
      : RowOp(spec, kernels),
        weight_(weights.vectors[0]),
        function_(spec.op == Op::kRmsNorm ? kernels.rms_norm : kernels.rms_norm_add) {}

  ScratchSize bind(std::span<const TensorView> args) const override {
    const uint32_t cols = static_cast<uint32_t>(weight_.size());
    check_operand(args[0], DType::kF32, max_rows(), cols);
    check_operand(args[1], DType::kF32, max_rows(), cols);
    return {};
  }
  void run_task(const Run&, std::span<const TensorView> args, uint32_t,
                uint32_t row) const noexcept override {
    function_(args[0].row_as<float>(row), args[1].row_as<float>(row), weight_.data(),
              args[0].cols(), spec().config->norm_epsilon);
  }

 private:
  std::span<const float> weight_;
  decltype(Kernels::rms_norm) function_;
};

// h[r] = gelu(gate) * up
class GegluOp : public RowOp {
 public:
  using RowOp::RowOp;

  ScratchSize bind(std::span<const TensorView> args) const override {
    check_operand(args[0], DType::kF32, max_rows(), args[0].cols());
    check_operand(args[1], DType::kF32, max_rows(), 2 * args[0].cols());
    return {};
  }
  // Several tasks a row, so that a single row is shared among threads too.
  uint32_t task_count(const Run& run, std::span<const TensorView> args,
                      uint32_t) const noexcept override {
    return row_count(run) * pieces(args[0].cols());
  }
  void run_task(const Run&, std::span<const TensorView> args, uint32_t,
                uint32_t task) const noexcept override {
    const uint32_t width = args[0].cols();
    const uint32_t row = task / pieces(width), first = task % pieces(width) * kPiece;
    const float* gate = args[1].row_as<float>(row) + first;
    kernels_.geglu(args[0].row_as<float>(row) + first, gate, gate + width,
                   std::min(kPiece, width - first));
  }

 private:
  static constexpr uint32_t kPiece = 2048;  // elements: about a microsecond of work
  static uint32_t pieces(uint32_t width) { return (width + kPiece - 1) / kPiece; }
};

// y[i] = x[row of output i]
class GatherOp : public RowOp {
 public:
  using RowOp::RowOp;

  ScratchSize bind(std::span<const TensorView> args) const override {
    check_operand(args[0], DType::kF32, spec().max_outputs, args[1].cols());
    check_operand(args[1], DType::kF32, spec().max_rows, args[1].cols());
    return {};
  }
  uint32_t task_count(const Run& run, std::span<const TensorView>,
                      uint32_t) const noexcept override {
    return run.header->outputs;
  }
  void run_task(const Run& run, std::span<const TensorView> args, uint32_t,
                uint32_t output) const noexcept override {
    const uint32_t row = run.rows[output].output_row;
    TANDEM_CHECK(row < run.header->rows, "output %u is row %u of %u", output, row,
                 run.header->rows);
    std::memcpy(args[0].row(0, output), args[1].row(0, row), args[1].cols() * sizeof(float));
  }
};

}  // namespace

std::unique_ptr<CpuKernel> make_row_op(const OpSpec& spec, const CpuWeights* weights,
                                       const Kernels& kernels) {
  switch (spec.op) {
    case Op::kEmbed: return std::make_unique<EmbedOp>(spec, *weights, kernels);
    case Op::kGeglu: return std::make_unique<GegluOp>(spec, kernels);
    case Op::kGather: return std::make_unique<GatherOp>(spec, kernels);
    default: return std::make_unique<NormOp>(spec, *weights, kernels);
  }
}

}  // namespace tandem::cpu
