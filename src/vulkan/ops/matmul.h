// Matrix times many rows, in tiles: see matmul.comp, matmul_dot.comp, matmul_coop.comp.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string_view>

#include "vulkan/ops/matvec.h"

namespace tandem::vulkan {

// Whether there are enough rows, and lie in memory as these shaders read them.
bool use_tiles(ProgramBuilder& builder, const MatvecInput& input, std::span<const Matrix> matrices);

// As matvec(). Partial products, where the inner dimension is cut, need memory of their own unless
// `target` is `size` bytes long, as matmul_size() says; it then begins with the products
// themselves.
void matmul(ProgramBuilder& builder, std::string_view label, const MatvecInput& input,
            std::span<const Matrix> matrices, Rows target, size_t size = 0);

// Bytes of the outputs of all rows, side by side without gaps, and of what is made on the way.
size_t matmul_size(ProgramBuilder& builder, const MatvecInput& input,
                   std::span<const Matrix> matrices);

}  // namespace tandem::vulkan
