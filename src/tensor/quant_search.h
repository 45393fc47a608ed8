// How the encoders of the quantised formats choose scales: candidates, each improved by least
// squares, and the one with least squared error wins. Inputs are finite.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

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
