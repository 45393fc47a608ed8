// Matrix times vector with a fused beginning, or times the vectors of a few rows: see matvec.comp.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "vulkan/program_builder.h"

namespace tandem::vulkan {

struct MatvecInput {
  Rows x;
  uint32_t max_rows = 1;
  uint32_t row_kind = kRowsAll;
  VkDeviceAddress norm = 0;  // 0: x as it is
  float epsilon = 0;
  std::optional<PendingAdd> add;  // made first; the sum goes to `sum`
  Rows sum;
  bool gated = false;  // x holds gate and up side by side; gelu_tanh(gate) * up is meant
  uint32_t together =
      1;  // more: x is as prepare.comp left it, and weights are read once for so many
};

// The residual stream of `home`, normed, with what is pending on it: the sum moves the stream.
MatvecInput stream_input(ProgramBuilder& builder, const Node& node, Rows home, const Matrix& norm);

// How many of the first matrices a dispatch takes: of one type, and three at most.
size_t matrices_together(std::span<const Matrix> matrices);

// target[row] = the matrices' outputs side by side. Matrices of different types take a dispatch
// each.
void matvec(ProgramBuilder& builder, std::string_view label, const MatvecInput& input,
            std::span<const Matrix> matrices, Rows target);

// target[row] = gelu_tanh(gate x) * (up x), for the parts of gate, then those of up; in one
// dispatch when both have one part and one type.
void matvec_geglu(ProgramBuilder& builder, const MatvecInput& input,
                  std::span<const Matrix> gate_up, Rows target);

// target[row] = gelu_tanh(gate) * up, side by side in `gate_up`.
void geglu(ProgramBuilder& builder, Rows gate_up, Rows target, uint32_t width, uint32_t max_rows);

}  // namespace tandem::vulkan
