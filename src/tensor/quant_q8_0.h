// Q8_0: 32 weights of 8 bits and one scale; weight = scale * level.
//
//   byte 0    2                    34
//        | d  | 32 signed bytes   |     d: f16 scale
//   byte 2 + i: weight i
//
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "tensor/half.h"
#include "tensor/quant_search.h"

namespace tandem {

struct BlockQ8_0 {
  static constexpr size_t kCount = 32;
  uint16_t scale;  // f16
  int8_t levels[32];
};
static_assert(sizeof(BlockQ8_0) == 34 && alignof(BlockQ8_0) == 2);

// out[32], exactly as ggml dequantises.
inline void decode(const BlockQ8_0& block, float* out) {
  const float scale = f16_to_f32(block.scale);
  for (size_t i = 0; i < 32; ++i) out[i] = scale * static_cast<float>(block.levels[i]);
}

// in[32], finite. The largest magnitude becomes level 127: at eight bits a search gains nothing.
inline void encode(const float* in, BlockQ8_0& block) {
  float largest = 0.0f;
  for (size_t i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(in[i]));
  block.scale = scale_to_f16(largest / 127.0f);
  round_to_levels(in, 32, f16_to_f32(block.scale), -127, 127, block.levels);
}

}  // namespace tandem
