// The project's own core kernels as the emulator calls them: symbol, host function, cost.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "npu/emulator/kernel_table.h"

namespace tandem::npu {

// Calls with buffers too small for their shape throw kInvalidFile.
void add_builtin_kernels(KernelTable& table);

}  // namespace tandem::npu
