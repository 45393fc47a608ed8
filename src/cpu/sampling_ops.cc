// The ops that reduce a row of logits to a few token ids.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "base/check.h"
#include "cpu/ops.h"

namespace tandem::cpu {
namespace {

constexpr uint32_t kPiece = 16384;  // logits per task
uint32_t pieces(uint32_t vocab) { return (vocab + kPiece - 1) / kPiece; }

// Stage 0 finds the best id of each piece, stage 1 the best of those, the lowest id on a tie.
class ArgmaxOp : public CpuKernel {
 public:
  ArgmaxOp(const OpSpec& spec, const Kernels& kernels) : CpuKernel(spec), kernels_(kernels) {}

  ScratchSize bind(std::span<const TensorView> args) const override {
    TANDEM_CHECK(args[0].dtype == DType::kI32 && args[0].cols() >= spec().max_outputs,
                 "%u ids in %s for %u outputs", args[0].cols(), dtype_name(args[0].dtype).data(),
                 spec().max_outputs);
    check_operand(args[1], DType::kF32, spec().max_outputs, args[1].cols());
    return {size_t{spec().max_outputs} * pieces(args[1].cols()) * sizeof(uint32_t), 0};
  }
  uint32_t stage_count() const override { return 2; }
  uint32_t task_count(const Run& run, std::span<const TensorView> args,
                      uint32_t stage) const noexcept override {
    return stage == 0 ? run.header->outputs * pieces(args[1].cols()) : 1;
  }
  void run_task(const Run& run, std::span<const TensorView> args, uint32_t stage,
                uint32_t task) const noexcept override {
    const uint32_t vocab = args[1].cols();
    uint32_t* best = reinterpret_cast<uint32_t*>(run.shared);
    if (stage == 0) {
      const uint32_t first = task % pieces(vocab) * kPiece;
      best[task] = first + kernels_.argmax(args[1].row_as<float>(task / pieces(vocab)) + first,
                                           std::min(kPiece, vocab - first));
      return;
    }
    for (uint32_t output = 0; output < run.header->outputs; ++output)
      finish(run, args, output, best + output * pieces(vocab));
  }

 private:
  void finish(const Run& run, std::span<const TensorView> args, uint32_t output,
              const uint32_t* best) const {
    const float* logits = args[1].row_as<float>(output);
    uint32_t id = best[0];
    for (uint32_t piece = 1; piece < pieces(args[1].cols()); ++piece)
      if (logits[best[piece]] > logits[id]) id = best[piece];
    const uint32_t round = run.rounds == 1 ? 0 : run.header->round;
    args[0].row_as<int32_t>(round)[output] = static_cast<int32_t>(id);
    if (run.rounds == 1) return;
    BatchRow& row = run.rows[run.rows[output].output_row];
    row.token = id;
    ++row.position;
  }

  const Kernels& kernels_;
};

// The k largest logits of an output, descending, lower ids first among equals.
class TopKOp : public CpuKernel {
 public:
  using CpuKernel::CpuKernel;

  ScratchSize bind(std::span<const TensorView> args) const override {
    check_operand(args[0], DType::kI32, spec().max_outputs, args[0].cols());
    check_operand(args[1], DType::kF32, spec().max_outputs, args[0].cols());
    check_operand(args[2], DType::kF32, spec().max_outputs, args[2].cols());
    TANDEM_CHECK(args[0].cols() <= args[2].cols(), "top %u of %u", args[0].cols(), args[2].cols());
    return {};
  }
  uint32_t task_count(const Run& run, std::span<const TensorView>,
                      uint32_t) const noexcept override {
    return run.header->outputs;
  }
  void run_task(const Run&, std::span<const TensorView> args, uint32_t,
                uint32_t output) const noexcept override {
    int32_t* ids = args[0].row_as<int32_t>(output);
    float* values = args[1].row_as<float>(output);
    const float* logits = args[2].row_as<float>(output);
    const uint32_t k = args[0].cols();
    uint32_t filled = 0;
    for (uint32_t id = 0; id < args[2].cols(); ++id) {
      // Rarely true once the list holds large values: the loop is a scan.
      if (filled == k && !(logits[id] > values[k - 1])) continue;
      uint32_t place = filled < k ? filled++ : k - 1;
      for (; place > 0 && logits[id] > values[place - 1]; --place) {
        values[place] = values[place - 1];
        ids[place] = ids[place - 1];
      }
      values[place] = logits[id];
      ids[place] = static_cast<int32_t>(id);
    }
  }
};

}  // namespace

std::unique_ptr<CpuKernel> make_sampling_op(const OpSpec& spec, const Kernels& kernels) {
  if (spec.op == Op::kArgmax) return std::make_unique<ArgmaxOp>(spec, kernels);
  return std::make_unique<TopKOp>(spec);
}

}  // namespace tandem::cpu
