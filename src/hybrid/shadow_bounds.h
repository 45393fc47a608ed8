// How far a device may be from the scalar kernels on the same operands: the spread of the
// difference, element by element, that rounding of activations explains.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "backend/op.h"
#include "tensor/tensor_view.h"

namespace tandem {

// What of an op's weights the spread depends on.
struct WeightScale {
  // Matrices: how far roundings move an input, relative to its norm; root mean square of each row.
  double rounding = 0;
  std::vector<float> row_rms;
  std::vector<float> values;  // norms, one after another

  // `file` holds the weights of one primitive, in op.h's order.
  static WeightScale of(Op op, std::span<const TensorView> file);
};

// Each writes one standard deviation per element of `spread`.

// w x: roundings of x are independent, so they add up as x does with weights of any sign.
void product_spread(std::span<const float> x, const WeightScale& w, std::span<float> spread);
// gelu(gate) * up, [gate | up] with a spread of its own.
void gated_spread(std::span<const float> gate_up, std::span<const float> gate_up_spread,
                  std::span<float> spread);
// w h where h has a spread.
void product_spread(std::span<const float> h, std::span<const float> h_spread, const WeightScale& w,
                    std::span<float> spread);
// rms_norm(y) * norm, in place of the spread of y.
void norm_spread(std::span<const float> y, std::span<const float> norm, std::span<float> spread);
// Attention's output for one row, by the queries it came from.
void attention_spread(std::span<const float> out, std::span<const float> queries,
                      std::span<const float> k_norm, const LayerConfig& config, DType kv,
                      std::span<float> spread);

struct Difference {
  uint32_t index = 0;
  float got = 0, want = 0;
  double bound = 0;
};

// The worst element if any is more than the bound away, or if all together are further away than
// elements within their bounds would be by chance.
std::optional<Difference> find_difference(std::span<const float> got, std::span<const float> want,
                                          std::span<const float> spread);

}  // namespace tandem
