// Rows of any tensor type from and to float, by the scalar definitions of the formats.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "tensor/dtype.h"

namespace tandem {

// `count` values of a row; whole blocks. Every type, integers included.
void dequantize_row(DType dtype, const std::byte* row, float* out, size_t count);

// True for the types that quantize_row writes: f32, f16, bf16, q4_0, q5_0, q8_0, q4_k, q6_k.
bool can_quantize(DType dtype);

// `count` finite values; whole blocks. `out` takes dtype_size(dtype, count) bytes and, like every
// row of blocks, lies at an even address.
void quantize_row(DType dtype, const float* in, std::byte* out, size_t count);

}  // namespace tandem
