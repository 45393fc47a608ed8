// SPDX-License-Identifier: Apache-2.0
#include "tensor/quant_search.h"

#include <algorithm>
#include <cmath>

namespace tandem {
namespace {

// Below this no f16 scale differs from zero (its least is 2^-24), and 1 / value could overflow.
constexpr float kVanishing = 0x1p-60f;

// Candidate scales span the range of levels stretched by -1.0 to 1.0 level.
constexpr int kSteps = 10;
constexpr float kStepWidth = 0.1f;

// To the nearest integer, ties to even, for |value| < 2^22: unlike std::nearbyint the compiler
// can vectorise it on every x86-64.
inline float round_small(float value) {
  constexpr float kMagic = 0x1.8p23f;
  return (value + kMagic) - kMagic;
}

inline float nearest_level(float value, float lowest, float highest) {
  return round_small(std::min(std::max(value, lowest), highest));
}

float reciprocal(float scale) { return std::fabs(scale) < kVanishing ? 0.0f : 1.0f / scale; }

float squared_error(const float* x, size_t count, int highest, ScaleMinimum used) {
  const float inverse = reciprocal(used.scale);
  const float top = static_cast<float>(highest);
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (size_t i = 0; i < count; ++i) {
    const float level = nearest_level((x[i] + used.minimum) * inverse, 0.0f, top);
    const float difference = x[i] + used.minimum - used.scale * level;
    sum += difference * difference;
  }
  return sum;
}

// The scale and minimum of least squared error for the levels that `start` gives.
ScaleMinimum fit(const float* x, size_t count, int highest, ScaleMinimum start) {
  const float inverse = reciprocal(start.scale);
  const float top = static_cast<float>(highest);
  float sum_q = 0.0f, sum_qq = 0.0f, sum_x = 0.0f, sum_xq = 0.0f;
#pragma omp simd reduction(+ : sum_q, sum_qq, sum_x, sum_xq)
  for (size_t i = 0; i < count; ++i) {
    const float q = nearest_level((x[i] + start.minimum) * inverse, 0.0f, top);
    sum_q += q;
    sum_qq += q * q;
    sum_x += x[i];
    sum_xq += x[i] * q;
  }
  const float n = static_cast<float>(count);
  const float determinant = n * sum_qq - sum_q * sum_q;
  if (determinant <= 0.0f) return start;
  ScaleMinimum fitted = {(n * sum_xq - sum_x * sum_q) / determinant,
                         (sum_q * sum_xq - sum_qq * sum_x) / determinant};
  if (fitted.minimum < 0.0f) fitted = {sum_xq / sum_qq, 0.0f};  // all values are positive
  return fitted.scale > 0.0f ? fitted : start;
}

}  // namespace

float search_scale(const float* x, size_t count, int lowest, int highest) {
  float extreme = 0.0f;
  for (size_t i = 0; i < count; ++i)
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  if (std::fabs(extreme) < kVanishing) return 0.0f;

  const float low = static_cast<float>(lowest);
  const float high = static_cast<float>(highest);
  float best_scale = extreme / low;
  float best_gain = 0.0f;
  for (int step = -kSteps; step <= kSteps; ++step) {
    const float inverse = (low + kStepWidth * static_cast<float>(step)) / extreme;
    float sum_xq = 0.0f, sum_qq = 0.0f;
#pragma omp simd reduction(+ : sum_xq, sum_qq)
    for (size_t i = 0; i < count; ++i) {
      const float q = nearest_level(x[i] * inverse, low, high);
      sum_xq += x[i] * q;
      sum_qq += q * q;
    }
    // With the least-squares scale xq / qq the error is xx - xq^2 / qq.
    const float gain = sum_xq * sum_xq / sum_qq;
    if (gain > best_gain) {
      best_gain = gain;
      best_scale = sum_xq / sum_qq;
    }
  }
  return best_scale;
}

ScaleMinimum search_scale_minimum(const float* x, size_t count, int highest) {
  const auto [least, greatest] = std::minmax_element(x, x + count);
  const float minimum = std::max(0.0f, -*least);
  const float range = *greatest + minimum;
  // All values alike and not positive: the minimum alone says it.
  if (range < kVanishing) return {0.0f, minimum};

  ScaleMinimum best = {range / static_cast<float>(highest), minimum};
  float best_error = squared_error(x, count, highest, best);
  for (int step = -kSteps; step <= kSteps; ++step) {
    const float levels = static_cast<float>(highest) + kStepWidth * static_cast<float>(step);
    const ScaleMinimum candidate = fit(x, count, highest, {range / levels, minimum});
    const float error = squared_error(x, count, highest, candidate);
    if (error < best_error) {
      best_error = error;
      best = candidate;
    }
  }
  return best;
}

SixBitPair search_six_bit_pair(const float* x, size_t count, int highest, ScaleMinimum best,
                               ScaleMinimum unit) {
  const auto nearest = [](float value, float one) {
    return static_cast<int>(nearest_level(value * reciprocal(one), 0.0f, 63.0f));
  };
  const int scale = nearest(best.scale, unit.scale);
  const int minimum = nearest(best.minimum, unit.minimum);
  SixBitPair chosen = {0, 0};
  float least = INFINITY;
  for (int s = std::max(scale - 1, 0); s <= std::min(scale + 1, 63); ++s) {
    for (int m = std::max(minimum - 1, 0); m <= std::min(minimum + 1, 63); ++m) {
      const ScaleMinimum candidate = {unit.scale * static_cast<float>(s),
                                      unit.minimum * static_cast<float>(m)};
      const float error = squared_error(x, count, highest, candidate);
      if (error < least) {
        least = error;
        chosen = {static_cast<uint8_t>(s), static_cast<uint8_t>(m)};
      }
    }
  }
  return chosen;
}

void round_to_levels(const float* x, size_t count, float scale, int lowest, int highest,
                     int8_t* levels) {
  const float inverse = reciprocal(scale);
  const float low = static_cast<float>(lowest);
  const float high = static_cast<float>(highest);
  for (size_t i = 0; i < count; ++i)
    levels[i] = static_cast<int8_t>(nearest_level(x[i] * inverse, low, high));
}

void round_to_levels(const float* x, size_t count, ScaleMinimum used, int highest,
                     uint8_t* levels) {
  const float inverse = reciprocal(used.scale);
  const float top = static_cast<float>(highest);
  for (size_t i = 0; i < count; ++i)
    levels[i] = static_cast<uint8_t>(nearest_level((x[i] + used.minimum) * inverse, 0.0f, top));
}

}  // namespace tandem
