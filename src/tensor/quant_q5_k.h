// Q5_K: 256 weights of 5 bits in eight sub-blocks of 32, each with a 6-bit scale and minimum;
// weight = d * scale * level - dmin * minimum.
//
//   byte 0    2      4                  16            48                       176
//        | d  | dmin | 12 packed scales | 32 fifths   | 128 bytes of nibbles  |   d, dmin: f16
//   nibbles as in quant_q4_k.h; fifths[i], bit s = bit 4 of weight i of sub-block s
//
// Read, never written.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/half.h"
#include "tensor/quant_k_scales.h"

namespace tandem {

struct BlockQ5K {
  static constexpr size_t kCount = 256;
  uint16_t scale;      // f16, of the scales
  uint16_t minimum;    // f16, of the minimums
  uint8_t packed[12];  // see quant_k_scales.h
  uint8_t fifths[32];
  uint8_t nibbles[128];
};
static_assert(sizeof(BlockQ5K) == 176 && alignof(BlockQ5K) == 2);

// out[256], exactly as ggml dequantises.
inline void decode(const BlockQ5K& block, float* out) {
  const KScales k = unpack_k_scales(block.packed);
  for (size_t sub = 0; sub < 8; ++sub) {
    const float scale = f16_to_f32(block.scale) * static_cast<float>(k.scales[sub]);
    const float minimum = f16_to_f32(block.minimum) * static_cast<float>(k.minimums[sub]);
    const uint8_t* nibbles = block.nibbles + sub / 2 * 32;
    for (size_t i = 0; i < 32; ++i) {
      const int nibble = sub % 2 == 0 ? nibbles[i] & 0x0F : nibbles[i] >> 4;
      const int fifth = (block.fifths[i] >> sub) & 1;
      out[sub * 32 + i] = scale * static_cast<float>(nibble | (fifth << 4)) - minimum;
    }
  }
}

}  // namespace tandem
