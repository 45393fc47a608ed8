// C[M, N] = A[M, K] * B[N, K]^T on the whole array, for any tile that fits.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "npu/designs/designs.h"

namespace tandem::npu {

EmittedDesign emit_gemm(const DesignRequest& request, uint32_t columns);

// Bytes of an element.
uint32_t size_of(GemmType type);

}  // namespace tandem::npu
