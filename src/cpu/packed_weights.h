// Matrices in the layout the vector kernels read.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>

#include "base/threads.h"
#include "cpu/kernels.h"
#include "tensor/shared_memory.h"
#include "tensor/tensor_view.h"

namespace tandem::cpu {

std::optional<WeightKind> weight_kind(DType dtype);

// One matrix [outputs, inputs], packed. Tiles of T = Kernels::tile rows follow each other; a last
// tile is filled up with rows of zeros. With T = 1 a row stays as it is in the file.
struct PackedMatrix {
  WeightKind kind = WeightKind::kF32;
  uint32_t outputs = 0, inputs = 0;
  uint32_t tile = 1;
  std::unique_ptr<SharedMemory> memory;

  uint32_t tile_count() const { return (outputs + tile - 1) / tile; }
};

// Throws kUnsupported for a type that is no weight type and kInvalidFile for rows that are no whole
// blocks.
PackedMatrix pack_matrix(const TensorView& file, uint32_t tile, ThreadPool& pool);

}  // namespace tandem::cpu
