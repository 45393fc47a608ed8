// SPDX-License-Identifier: Apache-2.0
#include "support/reference.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace tandem::reference {
namespace {

constexpr size_t kBlock = 32;

float largest_of(std::span<const float> x) {
  float largest = 0;
  for (float v : x) largest = std::max(largest, std::fabs(v));
  return largest;
}

// x rounded to int8 per 32, scale = largest / 127.
std::vector<float> rounded(std::span<const float> x) {
  std::vector<float> out(x.size());
  for (size_t block = 0; block < x.size(); block += kBlock) {
    const float largest = largest_of(x.subspan(block, kBlock));
    const float inverse = largest > 0 ? 127.0f / largest : 0.0f;
    for (size_t i = block; i < block + kBlock; ++i)
      out[i] = std::nearbyint(x[i] * inverse) * (largest / 127.0f);
  }
  return out;
}

double inverse_rms(std::span<const float> x, float epsilon) {
  double sum = 0;
  for (float v : x) sum += static_cast<double>(v) * static_cast<double>(v);
  return 1 / std::sqrt(sum / static_cast<double>(x.size()) + static_cast<double>(epsilon));
}

}  // namespace

void matmul_row(std::span<const float> x, const Matrix& w, bool blocks, Rounding rounding,
                Expected& out) {
  const bool rounds = blocks && rounding == Rounding::kInt8;
  const std::vector<float> input = rounds ? rounded(x) : std::vector<float>(x.begin(), x.end());
  std::vector<float> size(input.size());
  for (size_t i = 0; i < size.size(); ++i)
    size[i] = blocks ? largest_of(x.subspan(i / kBlock * kBlock, kBlock)) : std::fabs(x[i]);
  for (uint32_t n = 0; n < w.rows; ++n) {
    double sum = 0, magnitude = 0;
    for (size_t i = 0; i < input.size(); ++i) {
      const double weight = w.row(n)[i];
      sum += static_cast<double>(input[i]) * weight;
      magnitude += static_cast<double>(size[i]) * std::fabs(weight);
    }
    out.push(sum, magnitude);
  }
}

void rms_norm_row(std::span<const float> x, std::span<const float> weight, float epsilon,
                  Expected& out) {
  const double inverse = inverse_rms(x, epsilon);
  for (size_t i = 0; i < x.size(); ++i) {
    const double y = static_cast<double>(x[i]) * inverse * static_cast<double>(weight[i]);
    out.push(y, std::fabs(y));
  }
}

void rms_norm_add_row(std::span<const float> x, std::span<const float> y,
                      std::span<const float> weight, float epsilon, Expected& out) {
  Expected normed;
  rms_norm_row(y, weight, epsilon, normed);
  for (size_t i = 0; i < x.size(); ++i)
    out.push(static_cast<double>(x[i]) + normed.values[i],
             std::fabs(static_cast<double>(x[i])) + normed.magnitudes[i]);
}

void geglu_row(std::span<const float> gate, std::span<const float> up, Expected& out) {
  for (size_t i = 0; i < gate.size(); ++i) {
    const double g = gate[i], u = up[i];
    const double inner = std::sqrt(2 / std::numbers::pi) * (g + 0.044715 * g * g * g);
    out.push(0.5 * g * (1 + std::tanh(inner)) * u, std::fabs(g * u));
  }
}

void norm_rope_head(std::span<const float> x, std::span<const float> norm,
                    const LayerConfig& config, uint32_t position, Expected& out) {
  Expected normed;
  rms_norm_row(x, norm, config.norm_epsilon, normed);
  const size_t half = x.size() / 2;
  std::vector<double> turned(x.size()), magnitude(x.size());
  for (size_t i = 0; i < half; ++i) {
    const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(x.size());
    const double angle = position * static_cast<double>(config.rope_scale) *
                         std::pow(static_cast<double>(config.rope_base), exponent);
    const double a = normed.values[i], b = normed.values[i + half];
    turned[i] = a * std::cos(angle) - b * std::sin(angle);
    turned[i + half] = b * std::cos(angle) + a * std::sin(angle);
    magnitude[i] = magnitude[i + half] = std::fabs(a) + std::fabs(b);
  }
  for (size_t i = 0; i < x.size(); ++i) out.push(turned[i], magnitude[i]);
}

void attention_head(std::span<const float> query, std::span<const double> keys,
                    std::span<const double> values, float scale, Expected& out) {
  const size_t dim = query.size(), count = keys.size() / dim;
  std::vector<double> weights(count);
  for (size_t k = 0; k < count; ++k) {
    double score = 0;
    for (size_t i = 0; i < dim; ++i) score += static_cast<double>(query[i]) * keys[k * dim + i];
    weights[k] = score * static_cast<double>(scale);
  }
  const double largest = *std::max_element(weights.begin(), weights.end());
  double total = 0;
  for (double& weight : weights) total += weight = std::exp(weight - largest);
  for (size_t i = 0; i < dim; ++i) {
    double sum = 0, magnitude = 0;
    for (size_t k = 0; k < count; ++k) {
      sum += weights[k] / total * values[k * dim + i];
      magnitude += weights[k] / total * std::fabs(values[k * dim + i]);
    }
    out.push(sum, magnitude);
  }
}

}  // namespace tandem::reference
