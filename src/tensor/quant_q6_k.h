// Q6_K: 256 weights of 6 bits in sixteen sub-blocks of 16, each with an 8-bit scale;
// weight = d * scale * (level - 32).
//
//   byte 0                      128              192          208  210
//        | 128 bytes of nibbles | 64 bytes pairs | 16 scales  | d  |     d: f16, scales: int8
//   For each half h of 128 weights and i in [0, 32), weight 128h + 32j + i has
//     bits 0-3: nibbles[64h + 32(j % 2) + i], low nibble for j < 2, high nibble for j >= 2
//     bits 4-5: pairs[32h + i] >> 2j
//
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "tensor/half.h"
#include "tensor/quant_search.h"

namespace tandem {

struct BlockQ6K {
  static constexpr size_t kCount = 256;
  uint8_t nibbles[128];
  uint8_t pairs[64];
  int8_t scales[16];
  uint16_t scale;  // f16, of the scales
};
static_assert(sizeof(BlockQ6K) == 210 && alignof(BlockQ6K) == 2);

// out[256], exactly as ggml dequantises.
inline void decode(const BlockQ6K& block, float* out) {
  const float d = f16_to_f32(block.scale);
  for (size_t n = 0; n < 256; ++n) {
    const size_t sub_block = n / 16, half = n / 128, j = n % 128 / 32, i = n % 32;
    const uint8_t byte = block.nibbles[half * 64 + j % 2 * 32 + i];
    const int nibble = j < 2 ? byte & 0x0F : byte >> 4;
    const int pair = (block.pairs[half * 32 + i] >> (2 * j)) & 3;
    out[n] = d * static_cast<float>(block.scales[sub_block]) *
             static_cast<float>((nibble | (pair << 4)) - 32);
  }
}

// in[256], finite. Each sub-block gets its best scale, which is then rounded to 8 bits.
inline void encode(const float* in, BlockQ6K& block) {
  float best[16];
  float largest = 0.0f;  // by magnitude, with its sign, which the level -128 can carry
  for (size_t sub = 0; sub < 16; ++sub) {
    best[sub] = search_scale(in + sub * 16, 16, -32, 31);
    if (std::fabs(best[sub]) > std::fabs(largest)) largest = best[sub];
  }
  block.scale = scale_to_f16(largest / -128.0f);
  const float d = f16_to_f32(block.scale);
  round_to_levels(best, 16, d, -128, 127, block.scales);

  int8_t levels[256];
  for (size_t sub = 0; sub < 16; ++sub)
    round_to_levels(in + sub * 16, 16, d * static_cast<float>(block.scales[sub]), -32, 31,
                    levels + sub * 16);
  for (size_t half = 0; half < 2; ++half) {
    for (size_t i = 0; i < 32; ++i) {
      unsigned level[4];
      for (size_t j = 0; j < 4; ++j)
        level[j] = static_cast<unsigned>(levels[half * 128 + j * 32 + i] + 32);
      block.nibbles[half * 64 + i] = static_cast<uint8_t>((level[0] & 15) | (level[2] & 15) << 4);
      block.nibbles[half * 64 + 32 + i] =
          static_cast<uint8_t>((level[1] & 15) | (level[3] & 15) << 4);
      block.pairs[half * 32 + i] = static_cast<uint8_t>(level[0] >> 4 | level[1] >> 4 << 2 |
                                                        level[2] >> 4 << 4 | level[3] >> 4 << 6);
    }
  }
}

}  // namespace tandem
