// Rows of any weight type as a file would hold them, random.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "tensor/dtype.h"

namespace tandem {

// TANDEM_SEED, else 1. Throws kUsage when it is no number.
uint32_t random_seed();

// `count` weights of about 1/50; whole blocks. Block types get random bytes, so that every level
// occurs, and f16 scales and minimums of either sign.
std::vector<std::byte> random_weights(DType dtype, size_t count, std::mt19937& random);

}  // namespace tandem
