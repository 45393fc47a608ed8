// Q4_K: 256 weights of 4 bits in eight sub-blocks of 32, each with a 6-bit scale and minimum;
// weight = d * scale * nibble - dmin * minimum.
//
//   byte 0    2      4                  16                       144
//        | d  | dmin | 12 packed scales | 128 bytes of nibbles  |     d, dmin: f16
//   byte 16 + 32 * p + i: low nibble = weight i of sub-block 2p, high nibble = of 2p + 1
//
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "tensor/half.h"
#include "tensor/quant_k_scales.h"
#include "tensor/quant_search.h"

namespace tandem {

struct BlockQ4K {
  static constexpr size_t kCount = 256;
  uint16_t scale;      // f16, of the scales
  uint16_t minimum;    // f16, of the minimums
  uint8_t packed[12];  // see quant_k_scales.h
  uint8_t nibbles[128];
};
static_assert(sizeof(BlockQ4K) == 144 && alignof(BlockQ4K) == 2);

// out[256], exactly as ggml dequantises.
inline void decode(const BlockQ4K& block, float* out) {
  const KScales k = unpack_k_scales(block.packed);
  for (size_t sub = 0; sub < 8; ++sub) {
    const float scale = f16_to_f32(block.scale) * static_cast<float>(k.scales[sub]);
    const float minimum = f16_to_f32(block.minimum) * static_cast<float>(k.minimums[sub]);
    const uint8_t* nibbles = block.nibbles + sub / 2 * 32;
    for (size_t i = 0; i < 32; ++i) {
      const int nibble = sub % 2 == 0 ? nibbles[i] & 0x0F : nibbles[i] >> 4;
      out[sub * 32 + i] = scale * static_cast<float>(nibble) - minimum;
    }
  }
}

// in[256], finite. Each sub-block gets its best scale and minimum; these are rounded to 6 bits,
// trying the neighbours too, because the nearest pair is not always the one with least error.
inline void encode(const float* in, BlockQ4K& block) {
  ScaleMinimum best[8];
  ScaleMinimum largest = {0.0f, 0.0f};
  for (size_t sub = 0; sub < 8; ++sub) {
    best[sub] = search_scale_minimum(in + sub * 32, 32, 15);
    largest.scale = std::max(largest.scale, best[sub].scale);
    largest.minimum = std::max(largest.minimum, best[sub].minimum);
  }
  block.scale = scale_to_f16(largest.scale / 63.0f);
  block.minimum = scale_to_f16(largest.minimum / 63.0f);
  const float d = f16_to_f32(block.scale);
  const float dmin = f16_to_f32(block.minimum);

  KScales k;
  uint8_t levels[256];
  for (size_t sub = 0; sub < 8; ++sub) {
    const SixBitPair pair = search_six_bit_pair(in + sub * 32, 32, 15, best[sub], {d, dmin});
    k.scales[sub] = pair.scale;
    k.minimums[sub] = pair.minimum;
    const ScaleMinimum used = {d * static_cast<float>(pair.scale),
                               dmin * static_cast<float>(pair.minimum)};
    round_to_levels(in + sub * 32, 32, used, 15, levels + sub * 32);
  }
  pack_k_scales(k, block.packed);
  for (size_t i = 0; i < 128; ++i) {
    const uint8_t* low = levels + i / 32 * 64 + i % 32;
    block.nibbles[i] = static_cast<uint8_t>(low[0] | (low[32] << 4));
  }
}

}  // namespace tandem
