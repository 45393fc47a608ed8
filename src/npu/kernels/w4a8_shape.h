// The shape a W4A8 kernel call works on, packed in the one i32 that a core program passes.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

// Kernels are compiled for the core too, so this header uses nothing of the project.
struct W4A8Shape {
  uint32_t row_groups;    // of 4 rows of activations
  uint32_t groups;        // of 32 inputs in a tile
  uint32_t column_tiles;  // of n outputs in a tile
  uint32_t accumulators;  // of 16 lanes wanted of each 4 x n result tile
};

constexpr int32_t pack_shape(W4A8Shape shape) {
  return static_cast<int32_t>(shape.row_groups | shape.groups << 8 | shape.column_tiles << 16 |
                              shape.accumulators << 24);
}

constexpr W4A8Shape unpack_shape(int32_t packed) {
  const auto bits = static_cast<uint32_t>(packed);
  return {bits & 0xFF, bits >> 8 & 0xFF, bits >> 16 & 0xFF, bits >> 24};
}

// Bytes of the activations of one tile's depth: quants, scales, padding to a vector load.
constexpr uint32_t activation_unit_size(W4A8Shape shape, uint32_t scale_size) {
  return (shape.row_groups * shape.groups * (128 + 4 * scale_size) + 31) / 32 * 32;
}
