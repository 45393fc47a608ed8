// Q5_0: 32 weights of 5 bits and one scale; weight = scale * (level - 16).
//
//   byte 0    2        6                       22
//        | d  | fifths | 16 bytes of nibbles  |     d: f16 scale
//   fifths: bit i (little-endian) = bit 4 of weight i
//   byte 6 + i: low nibble = bits 0-3 of weight i, high nibble = those of weight i + 16
//
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/half.h"
#include "tensor/quant_search.h"

namespace tandem {

struct BlockQ5_0 {
  static constexpr size_t kCount = 32;
  uint16_t scale;  // f16
  uint8_t fifths[4];
  uint8_t nibbles[16];
};
static_assert(sizeof(BlockQ5_0) == 22 && alignof(BlockQ5_0) == 2);

// out[32], exactly as ggml dequantises.
inline void decode(const BlockQ5_0& block, float* out) {
  const float scale = f16_to_f32(block.scale);
  for (size_t i = 0; i < 32; ++i) {
    const int nibble = i < 16 ? block.nibbles[i] & 0x0F : block.nibbles[i - 16] >> 4;
    const int fifth = (block.fifths[i / 8] >> (i % 8)) & 1;
    out[i] = scale * static_cast<float>((nibble | (fifth << 4)) - 16);
  }
}

// in[32], finite. The scale is the best found by search_scale, which may be negative.
inline void encode(const float* in, BlockQ5_0& block) {
  block.scale = scale_to_f16(search_scale(in, 32, -16, 15));
  int8_t levels[32];
  round_to_levels(in, 32, f16_to_f32(block.scale), -16, 15, levels);
  for (size_t i = 0; i < 4; ++i) block.fifths[i] = 0;
  for (size_t i = 0; i < 32; ++i) {
    const unsigned fifth = (static_cast<unsigned>(levels[i] + 16) >> 4) << (i % 8);
    block.fifths[i / 8] = static_cast<uint8_t>(block.fifths[i / 8] | fifth);
  }
  for (size_t i = 0; i < 16; ++i)
    block.nibbles[i] =
        static_cast<uint8_t>(((levels[i] + 16) & 15) | ((levels[i + 16] + 16) & 15) << 4);
}

}  // namespace tandem
