// From a request for a design to what the compiler, or the emulator, is given.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

#include "npu/artifact.h"
#include "npu/compiler.h"
#include "npu/designs/designs.h"

namespace tandem::npu {

DesignIdentity identity_of(const DesignRequest& request);

// The emitted text with the core kernels it links, whose sources lie in `kernel_folder` under the
// name of the object the text asks for.
DesignSource source_of(const DesignRequest& request, const EmittedDesign& emitted,
                       const std::filesystem::path& kernel_folder);

}  // namespace tandem::npu
