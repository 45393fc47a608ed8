// The order in which a buffer descriptor walks memory, as runs of consecutive bytes.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "npu/aie_text/design.h"

namespace tandem::npu {

struct AddressRun {
  uint64_t offset = 0;  // bytes from the descriptor's address, iteration not included
  uint32_t words = 0;
  bool padding = false;  // zeros, no memory
};

// The run at a position (32-bit words since the descriptor began) and at most `limit` words long.
AddressRun run_at(const BufferDescriptor& descriptor, uint32_t position, uint32_t limit);

// Bytes that lie consecutively in memory wherever the pattern reads, up to the whole length.
uint64_t contiguous_bytes(const BufferDescriptor& descriptor);

}  // namespace tandem::npu
