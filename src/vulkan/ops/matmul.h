// Matrix times many rows, in tiles: see matmul.comp, matmul_dot.comp, matmul_coop.comp.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string_view>

#include "vulkan/ops/matvec.h"

namespace tandem::vulkan {

// Whether the product is worth tiles, and lies in memory as they read it.
bool use_matmul(ProgramBuilder& builder, const MatvecInput& input,
                std::span<const Matrix> matrices);

// As matvec(). `input.add` must have been made (materialized) before.
void matmul(ProgramBuilder& builder, std::string_view label, const MatvecInput& input,
            std::span<const Matrix> matrices, Rows target);

}  // namespace tandem::vulkan
