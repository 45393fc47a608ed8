// The ops of op.h by their formulas, in double, with the magnitudes that errors are measured by.
// Knows nothing of any device but how one may round activations.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backend/op.h"
#include "backend/tolerance.h"
#include "support/compare.h"

namespace tandem::reference {

// Row-major floats.
struct Matrix {
  uint32_t rows = 0, cols = 0;
  std::vector<float> values;

  std::span<const float> row(uint32_t r) const { return {values.data() + size_t{r} * cols, cols}; }
};

// out[r, n] = x[r] . w[n], row by row of x appended to `out`.
void matmul_row(std::span<const float> x, const Matrix& w, bool blocks, Rounding rounding,
                Expected& out);

void rms_norm_row(std::span<const float> x, std::span<const float> weight, float epsilon,
                  Expected& out);
// x + rms_norm(y)
void rms_norm_add_row(std::span<const float> x, std::span<const float> y,
                      std::span<const float> weight, float epsilon, Expected& out);
void geglu_row(std::span<const float> gate, std::span<const float> up, Expected& out);
// One head of q or k: norm, then rotation.
void norm_rope_head(std::span<const float> x, std::span<const float> norm,
                    const LayerConfig& config, uint32_t position, Expected& out);

// One query over the keys and values it attends to, [keys, head_dim] in double.
void attention_head(std::span<const float> query, std::span<const double> keys,
                    std::span<const double> values, float scale, Expected& out);

}  // namespace tandem::reference
