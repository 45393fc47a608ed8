// SPDX-License-Identifier: Apache-2.0
#include "backend/backend.h"

#include "base/host_memory.h"

namespace tandem {

uint64_t Backend::available_memory() const { return available_host_memory(); }

}  // namespace tandem
