// Q4_1: 32 weights of 4 bits, a scale and a minimum; weight = scale * nibble + minimum.
//
//   byte 0    2    4                       20
//        | d  | m  | 16 bytes of nibbles  |     d, m: f16
//   byte 4 + i: low nibble = weight i, high nibble = weight i + 16
//
// Read, never written.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/half.h"

namespace tandem {

struct BlockQ4_1 {
  static constexpr size_t kCount = 32;
  uint16_t scale;    // f16
  uint16_t minimum;  // f16
  uint8_t nibbles[16];
};
static_assert(sizeof(BlockQ4_1) == 20 && alignof(BlockQ4_1) == 2);

// out[32], exactly as ggml dequantises.
inline void decode(const BlockQ4_1& block, float* out) {
  const float scale = f16_to_f32(block.scale);
  const float minimum = f16_to_f32(block.minimum);
  for (size_t i = 0; i < 16; ++i) {
    out[i] = scale * static_cast<float>(block.nibbles[i] & 0x0F) + minimum;
    out[i + 16] = scale * static_cast<float>(block.nibbles[i] >> 4) + minimum;
  }
}

}  // namespace tandem
