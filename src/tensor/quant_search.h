// How the encoders of the quantised formats choose scales: candidates, each improved by least
// squares, and the one with least squared error wins. Inputs are finite.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "tensor/half.h"

namespace tandem {

// Approximates x by scale * level - minimum; neither is negative.
struct ScaleMinimum {
  float scale;
  float minimum;
};

// The scale for x ~ scale * level, lowest <= level <= highest. The value of largest magnitude
// goes to about `lowest`, the side with one level more, so the scale may be negative.
float search_scale(const float* x, size_t count, int lowest, int highest);

// The scale and minimum for x ~ scale * level - minimum, 0 <= level <= highest.
ScaleMinimum search_scale_minimum(const float* x, size_t count, int highest);

// A block's scale as f16: the nearest, but among the subnormals, whose steps are wide, not one
// nearer to zero, so that the greatest value keeps a level.
inline uint16_t scale_to_f16(float scale) {
  const uint16_t half = f32_to_f16(scale);
  const bool subnormal = (half & 0x7C00) == 0;
  return subnormal && std::fabs(f16_to_f32(half)) < std::fabs(scale)
             ? static_cast<uint16_t>(half + 1)
             : half;
}

// A scale and a minimum in 6 bits each, in the units of a super-block.
struct SixBitPair {
  uint8_t scale;
  uint8_t minimum;
};
// The pair near `best` / `unit` with least error.
SixBitPair search_six_bit_pair(const float* x, size_t count, int highest, ScaleMinimum best,
                               ScaleMinimum unit);

// The nearest level of each value; 0 everywhere when the scale is 0.
void round_to_levels(const float* x, size_t count, float scale, int lowest, int highest,
                     int8_t* levels);
void round_to_levels(const float* x, size_t count, ScaleMinimum used, int highest, uint8_t* levels);

}  // namespace tandem
