// Where the weights of a tile lie once packed. Includes nothing with inline code (see kernels.h).
//
// A tile is T rows, T the lanes of a vector register: lane = row. Rows are cut into super-blocks
// of the file's block length, which follow each other:
//
//   super-block   scale f16[T], then minimum f16[T] where the kind has one
//                 then for each 32 inputs:
//     K kinds only: sub-scale u8[T] (kQ6K: i8[2][T], per 16 inputs), sub-minimum u8[T]
//     levels: eight groups of 4 inputs; a group is a vector [T][4] of bytes
//       4, 5, 6 bits: 4 vectors of nibbles, low = group g, high = group g + 4
//       5 bits:       1 vector, bit g = bit 4 of group g
//       6 bits:       2 vectors, bits 2j and 2j + 1 of vector v = bits 4 and 5 of group 4v + j
//       8 bits:       8 vectors, level + 128
//
// As many bytes as in the file (kQ4K, kQ5K: 4 more per 256, sub-scales being whole bytes), and
// every level unsigned, as the dot-product instructions want one factor; `offset` is what levels
// are too large by. Float kinds are [inputs][T] as in the file. SPDX-License-Identifier: Apache-2.0
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
  // Bytes of one row's share.
  constexpr uint32_t header_size() const { return has_minimum ? 4 : 2; }
  constexpr uint32_t sub_header_size() const {
    return scales_per_32 + (has_sub_scales() && has_minimum ? 1 : 0);
  }
  constexpr uint32_t block_size() const { return sub_header_size() + level_bits * kBlock / 8; }
  constexpr size_t row_size(uint32_t inputs) const {
    if (element_size != 0) return size_t{inputs} * element_size;
    return size_t{inputs} / super_block * header_size() + size_t{inputs} / kBlock * block_size();
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
