// Q4_0: 32 weights of 4 bits and one scale; weight = scale * (nibble - 8).
//
//   byte 0    2                       18
//        | d  | 16 bytes of nibbles  |     d: f16 scale
//   byte 2 + i: low nibble = weight i, high nibble = weight i + 16
//
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/half.h"
#include "tensor/quant_search.h"

namespace tandem {

struct BlockQ4_0 {
  static constexpr size_t kCount = 32;
  uint16_t scale;  // f16
  uint8_t nibbles[16];
};
static_assert(sizeof(BlockQ4_0) == 18 && alignof(BlockQ4_0) == 2);

// out[32], exactly as ggml dequantises.
inline void decode(const BlockQ4_0& block, float* out) {
  const float scale = f16_to_f32(block.scale);
  for (size_t i = 0; i < 16; ++i) {
    out[i] = scale * static_cast<float>((block.nibbles[i] & 0x0F) - 8);
    out[i + 16] = scale * static_cast<float>((block.nibbles[i] >> 4) - 8);
  }
}

// in[32], finite. The scale is the best found by search_scale, which may be negative.
inline void encode(const float* in, BlockQ4_0& block) {
  block.scale = scale_to_f16(search_scale(in, 32, -8, 7));
  int8_t levels[32];
  round_to_levels(in, 32, f16_to_f32(block.scale), -8, 7, levels);
  for (size_t i = 0; i < 16; ++i)
    block.nibbles[i] = static_cast<uint8_t>((levels[i] + 8) | ((levels[i + 16] + 8) << 4));
}

}  // namespace tandem
