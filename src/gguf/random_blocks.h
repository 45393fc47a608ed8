// Random tensor data made directly in its stored form.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/dtype.h"

namespace tandem {

// Fills `out`, whole blocks of a float type or a quantised one, with weights of mean zero and about
// the standard deviation `deviation`. Block scales differ, and have both signs in the formats
// where encoders use both. The same seed gives the same bytes.
void fill_random_blocks(DType dtype, float deviation, uint64_t seed, std::span<std::byte> out);

// Values spread evenly over [lowest, highest].
void fill_random_floats(float lowest, float highest, uint64_t seed, std::span<float> out);

}  // namespace tandem
