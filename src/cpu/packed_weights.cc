// SPDX-License-Identifier: Apache-2.0
#include "cpu/packed_weights.h"

#include <fmt/format.h>

#include <cstring>

#include "base/error.h"

namespace tandem::cpu {

std::optional<WeightKind> weight_kind(DType dtype) {
  switch (dtype) {
    case DType::kF32: return WeightKind::kF32;
    case DType::kF16: return WeightKind::kF16;
    case DType::kBF16: return WeightKind::kBF16;
    case DType::kQ4_0: return WeightKind::kQ4_0;
    case DType::kQ4_1: return WeightKind::kQ4_1;
    case DType::kQ5_0: return WeightKind::kQ5_0;
    case DType::kQ5_1: return WeightKind::kQ5_1;
    case DType::kQ8_0: return WeightKind::kQ8_0;
    case DType::kQ4K: return WeightKind::kQ4K;
    case DType::kQ5K: return WeightKind::kQ5K;
    case DType::kQ6K: return WeightKind::kQ6K;
    case DType::kI8:
    case DType::kI32: break;
  }
  return std::nullopt;
}

PackedMatrix pack_matrix(const TensorView& file, uint32_t tile, ThreadPool& pool) {
  const std::optional<WeightKind> kind = weight_kind(file.dtype);
  if (!kind)
    throw Error(ErrorCode::kUnsupported,
                fmt::format("the CPU kernels take no {} matrix", dtype_name(file.dtype)));
  const DTypeInfo& info = dtype_info(file.dtype);
  if (file.cols() % info.block_count != 0)
    throw Error(ErrorCode::kInvalidFile,
                fmt::format("rows of {} {} weights are no whole blocks", file.cols(), info.name));
  PackedMatrix matrix{*kind, file.rows(), file.cols(), tile, nullptr};
  const size_t row_size = dtype_size(file.dtype, file.cols());
  matrix.memory = std::make_unique<SharedMemory>(row_size * file.rows(), "weights");
  pool.run([&](uint32_t thread) noexcept {
    for (uint32_t row = thread; row < file.rows(); row += pool.size())
      std::memcpy(matrix.memory->data() + row * row_size, file.row(0, row), row_size);
  });
  return matrix;
}

}  // namespace tandem::cpu
