// SPDX-License-Identifier: Apache-2.0
#include "hybrid/shadow_bounds.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "backend/tolerance.h"
#include "base/check.h"
#include "tensor/quantize.h"

namespace tandem {
namespace {

constexpr size_t kGroup = 32;  // activations that are rounded to int8 with one scale

// A row's elements may be this many standard deviations away, and their root mean square this many.
// The spread assumes weights of equal size along a row; these leave room for those that are not.
constexpr double kElementSpreads = 12, kRowSpreads = 4;
// Roundings of the result itself: sums that take part in different orders.
constexpr double kResultRounding = 16 * kUlp, kTiny = 1e-30;

double norm(std::span<const float> x) {
  double sum = 0;
  for (float v : x) sum += static_cast<double>(v) * static_cast<double>(v);
  return std::sqrt(sum);
}

double rms(std::span<const float> x) { return norm(x) / std::sqrt(static_cast<double>(x.size())); }

// Of the norm of x, when both devices round it. To int8: every element of a group is off by up to
// kInt8Rounding of the largest, evenly spread (1 / sqrt 3 of that), and the largest is at most the
// group's norm. To f16 otherwise, x and w each.
double rounding_of(DType weights) {
  const double once = is_quantized(weights)
                          ? std::sqrt(static_cast<double>(kGroup) / 3) * kInt8Rounding
                          : 2 * kF16Rounding;
  return std::numbers::sqrt2 * once;
}

}  // namespace

WeightScale WeightScale::of(Op op, std::span<const TensorView> file) {
  WeightScale scale;
  if (op == Op::kEmbed) return scale;
  for (const TensorView& weight : file) {
    std::vector<float> row(weight.cols());
    if (op == Op::kMatmul) scale.rounding = std::max(scale.rounding, rounding_of(weight.dtype));
    for (uint32_t r = 0; r < weight.rows(); ++r) {
      dequantize_row(weight.dtype, weight.row(0, r), row.data(), row.size());
      if (op == Op::kMatmul)
        scale.row_rms.push_back(static_cast<float>(rms(row)));
      else
        scale.values.insert(scale.values.end(), row.begin(), row.end());
    }
  }
  return scale;
}

void product_spread(std::span<const float> x, const WeightScale& w, std::span<float> spread) {
  const double off = w.rounding * norm(x);
  for (size_t n = 0; n < spread.size(); ++n)
    spread[n] = static_cast<float>(off * static_cast<double>(w.row_rms[n]));
}

void gated_spread(std::span<const float> gate_up, std::span<const float> gate_up_spread,
                  std::span<float> spread) {
  constexpr double kSteepest = 1.13;  // slope of gelu
  const size_t count = spread.size();
  for (size_t i = 0; i < count; ++i) {
    const double gate = gate_up[i], up = gate_up[count + i];
    const double gelu = std::max(gate, 0.0) + 0.17;  // at most, in size: its least is -0.17
    spread[i] = static_cast<float>(
        std::hypot(kSteepest * up * gate_up_spread[i], gelu * gate_up_spread[count + i]));
  }
}

void product_spread(std::span<const float> h, std::span<const float> h_spread, const WeightScale& w,
                    std::span<float> spread) {
  const double off = std::hypot(w.rounding * norm(h), norm(h_spread));
  for (size_t n = 0; n < spread.size(); ++n)
    spread[n] = static_cast<float>(off * static_cast<double>(w.row_rms[n]));
}

void norm_spread(std::span<const float> y, std::span<const float> norm, std::span<float> spread) {
  const double inverse = 1 / std::max(rms(y), kTiny);
  for (size_t i = 0; i < spread.size(); ++i)
    spread[i] = static_cast<float>(inverse * std::fabs(static_cast<double>(norm[i])) *
                                   static_cast<double>(spread[i]));
}

void attention_spread(std::span<const float> out, std::span<const float> queries,
                      std::span<const float> k_norm, const LayerConfig& config, DType kv,
                      std::span<float> spread) {
  float largest = 0;  // of the key's norm weights: a key is no longer than it times sqrt(dim)
  for (float w : k_norm) largest = std::max(largest, std::fabs(w));
  for (uint32_t h = 0; h < config.heads; ++h) {
    const size_t first = size_t{h} * config.head_dim;
    // A score is off by the roundings of query and key; so, relatively, are all weights.
    const double score = std::numbers::sqrt2 * kF16Rounding *
                         norm(queries.subspan(first, config.head_dim)) *
                         static_cast<double>(largest * config.attention_scale);
    const double relative = score + kF16Rounding + cache_rounding(kv);
    const double size = rms(out.subspan(first, config.head_dim));
    std::fill_n(spread.begin() + static_cast<std::ptrdiff_t>(first), config.head_dim,
                static_cast<float>(relative * size));
  }
}

std::optional<Difference> find_difference(std::span<const float> got, std::span<const float> want,
                                          std::span<const float> spread) {
  TANDEM_CHECK(got.size() == want.size() && got.size() == spread.size(), "%zu, %zu, %zu elements",
               got.size(), want.size(), spread.size());
  Difference worst;
  double worst_share = -1, squares = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = std::fabs(static_cast<double>(got[i]) - static_cast<double>(want[i]));
    const double rounding = kResultRounding * std::fabs(static_cast<double>(want[i])) + kTiny;
    const double bound = kElementSpreads * static_cast<double>(spread[i]) + rounding;
    // NaN and infinity are outside any bound.
    const double share = std::isfinite(got[i]) ? error / bound : HUGE_VAL;
    const double spreads = error / (static_cast<double>(spread[i]) + rounding);
    squares += spreads * spreads;
    if (share <= worst_share) continue;
    worst_share = share;
    worst = {static_cast<uint32_t>(i), got[i], want[i], bound};
  }
  const double row = std::sqrt(squares / static_cast<double>(got.size()));
  if (worst_share <= 1 && row <= kRowSpreads) return std::nullopt;
  return worst;
}

}  // namespace tandem
