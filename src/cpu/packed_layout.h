// Where the weights of a tile lie once packed. Includes nothing with inline code (see kernels.h).
//
// A tile is T rows, T the lanes of a vector register: lane = row. Block kinds keep apart
//
//   factors, by super-block (the file's block): scale f16[T], minimum f16[T] where the kind has
//     one, then in K kinds for each 32 inputs: sub-scale u8[T] (kQ6K: i8[2][T], per 16 inputs),
//     sub-minimum u8[T] where the kind has one
//   levels, from the next multiple of 64 bytes on, by 32 inputs in eight groups of 4; a group is a
//     vector [T][4] of bytes
//       4, 5, 6 bits: 4 vectors of nibbles, low = group g, high = group g + 4
//       5 bits:       1 vector more, bit g = bit 4 of group g
//       6 bits:       2 vectors more, bits 2j and 2j + 1 of vector v = bits 4, 5 of group 4v + j
//       8 bits:       8 vectors, level + 128
//
// As many bytes as in the file (kQ4K, kQ5K: 4 more per 256, for sub-scales are whole bytes), and
// every level unsigned, as the dot-product instructions want one factor; `offset` is what levels
// are too large by. Float kinds are [inputs][T] as in the file.
//
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cpu/kernels.h"

namespace tandem::cpu {

struct PackedLayout {
  uint32_t super_block;  // inputs
  uint32_t level_bits;
  int32_t offset;
  bool has_minimum;        // weight = scale * level + minimum; subtracted in K kinds
  uint32_t scales_per_32;  // sub-scales; 0 where the super-block is the block
  uint32_t element_size;   // bytes, float kinds only

  constexpr bool has_sub_scales() const { return scales_per_32 != 0; }
  constexpr bool has_sub_minimum() const { return has_sub_scales() && has_minimum; }
  // Bytes of one row's share: of the factors of a super-block, of the sub-factors of 32 inputs in
  // it, and of the levels of 32 inputs.
  constexpr uint32_t sub_factors_size() const {
    return scales_per_32 + (has_sub_minimum() ? 1 : 0);
  }
  constexpr uint32_t factors_size() const {
    return (has_minimum ? 4 : 2) + super_block / kBlock * sub_factors_size();
  }
  constexpr uint32_t levels_size() const { return level_bits * kBlock / 8; }

  // Of a tile of `tile` rows: where the levels start, and the whole.
  constexpr size_t levels_offset(uint32_t inputs, uint32_t tile) const {
    return (size_t{inputs} / super_block * factors_size() * tile + 63) / 64 * 64;
  }
  constexpr size_t tile_size(uint32_t inputs, uint32_t tile) const {
    if (element_size != 0) return size_t{inputs} * element_size * tile;
    return levels_offset(inputs, tile) + size_t{inputs} / kBlock * levels_size() * tile;
  }
};

inline constexpr PackedLayout kPackedLayouts[kWeightKindCount] = {
    {1, 0, 0, false, 0, 4},     // kF32
    {1, 0, 0, false, 0, 2},     // kF16
    {1, 0, 0, false, 0, 2},     // kBF16
    {32, 4, 8, false, 0, 0},    // kQ4_0
    {32, 4, 0, true, 0, 0},     // kQ4_1
    {32, 5, 16, false, 0, 0},   // kQ5_0
    {32, 5, 0, true, 0, 0},     // kQ5_1
    {32, 8, 128, false, 0, 0},  // kQ8_0
    {256, 4, 0, true, 1, 0},    // kQ4K
    {256, 5, 0, true, 1, 0},    // kQ5K
    {256, 6, 32, false, 2, 0},  // kQ6K
};

}  // namespace tandem::cpu
