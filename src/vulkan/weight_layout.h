// How weights lie in device memory: the file's numbers, bit for bit, in an order that a subgroup
// reads with aligned 16-byte loads. shaders/include/dequant_*.glsl have the byte diagrams.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>

#include "tensor/dtype.h"

namespace tandem::vulkan {

// Whether shaders read weights of this type.
bool has_weight_layout(DType dtype);

// Bytes of a packed row of `count` weights, a multiple of 16. `count` must be a multiple of the
// type's block; a plain type's row is filled up with zeros to a multiple of 32.
size_t packed_row_size(DType dtype, size_t count);

// Packs one row as GGUF stores it. `packed` has packed_row_size() bytes.
void pack_row(DType dtype, std::span<const std::byte> row, std::span<std::byte> packed);

}  // namespace tandem::vulkan
