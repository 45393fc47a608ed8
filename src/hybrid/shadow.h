// The shadow check: a device whose every node is computed again by the scalar kernels and compared.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "backend/backend.h"

namespace tandem {

// Behaves as `device` does, which stands for it under the same name. Each node runs alone, then
// once more on `scalar` (a CPU backend with the kernels that define what is correct, which gets its
// own copy of the weights) from the same operands and cache. The first node that is further from
// that than rounding explains ends the program with kWrongResult; failure() then names the node,
// its layer, the element and both values. For debugging: it is slow, and allocates as it runs.
// One round per submit.
std::unique_ptr<Backend> make_shadow_backend(std::unique_ptr<Backend> device,
                                             std::unique_ptr<Backend> scalar);

}  // namespace tandem
