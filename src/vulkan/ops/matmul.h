// Matrix times several rows: a few at once, see matmul_few.comp, or many in tiles, see matmul.comp,
// matmul_dot.comp, matmul_coop.comp.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string_view>

#include "vulkan/ops/matvec.h"

namespace tandem::vulkan {

// Whether there are several rows, and lie in memory as these shaders read them.
bool use_matmul(const MatvecInput& input, std::span<const Matrix> matrices);

// As matvec().
void matmul(ProgramBuilder& builder, std::string_view label, const MatvecInput& input,
            std::span<const Matrix> matrices, Rows target);

}  // namespace tandem::vulkan
