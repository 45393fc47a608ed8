// SPDX-License-Identifier: Apache-2.0
#include "cpu/ops.h"

#include "base/check.h"

namespace tandem::cpu {

size_t CpuWeights::size() const {
  size_t bytes = 0;
  for (const PackedMatrix& matrix : matrices) bytes += matrix.memory->size();
  for (const std::vector<float>& vector : vectors) bytes += vector.size() * sizeof(float);
  return bytes;
}

void check_operand(const TensorView& view, DType dtype, uint32_t rows, uint32_t cols) {
  TANDEM_CHECK(view.dtype == dtype, "operand is %s, not %s", dtype_info(view.dtype).name.data(),
               dtype_info(dtype).name.data());
  TANDEM_CHECK(view.rows() >= rows && view.cols() == cols, "operand is %u x %u, not %u x %u",
               view.rows(), view.cols(), rows, cols);
}

std::unique_ptr<CpuKernel> make_kernel(const OpSpec& spec, const CpuWeights* weights,
                                       const Kernels& kernels, uint32_t threads) {
  switch (spec.op) {
    case Op::kEmbed:
    case Op::kRmsNorm:
    case Op::kRmsNormAdd:
    case Op::kGeglu:
    case Op::kGather: return make_row_op(spec, weights, kernels);
    case Op::kMatmul: return make_matmul_op(spec, *weights, kernels, threads);
    case Op::kQkNormRope: return make_qk_norm_rope_op(spec, *weights, kernels);
    case Op::kAttention: return make_attention_op(spec, kernels);
    case Op::kArgmax:
    case Op::kTopK: return make_sampling_op(spec, kernels);
    case Op::kQkv:
    case Op::kAttnCore:
    case Op::kAttnOut:
    case Op::kFfn:
    case Op::kHead: break;
  }
  TANDEM_CHECK(false, "%s is not a primitive", op_info(spec.op).name.data());
}

}  // namespace tandem::cpu
