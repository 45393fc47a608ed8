// The array controller's instructions as the firmware takes them: a stream of little-endian 32-bit
// words that mlir-aie calls insts.bin and the vendor's library a transaction (format version 0.1,
// AIETargetNPU.cpp). Encoding and decoding only; what the instructions do is the emulator's.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "npu/aie_text/design.h"

namespace tandem::npu {

// Header, words 0..3:
//   0  array rows << 24 | generation << 16 | minor version 1 << 8 | major version 0
//   1  memory-tile rows << 8 | columns     2  number of records     3  size of everything in bytes
// Records, by the low byte of their first word:
//   0x00 write32      6 words: -, -, address, 0, value, size
//   0x01 block write  4 + n:   -, column | row << 8, address, size, the words
//   0x03 mask write   7 words: -, -, address, 0, value, mask, size
//   0x06 preempt      1 word
//   0x08 load PDI     4 words: id << 16 | opcode, size, address low, high
//   0x80 sync         4 words: -, size, direction | row << 8 | column << 16,
//                              rows << 8 | columns << 16 | channel << 24
//   0x81 host address 12 words: -, size, 0 x 4, register u64, argument u64, addend u64
struct Transaction {
  uint32_t rows = 0, memory_tile_rows = 0, columns = 0;
  uint32_t generation = 0;                          // 3: npu1, 4: npu2
  std::vector<ControllerInstruction> instructions;  // without source locations
};

// The sequence of a design's main device.
std::vector<uint32_t> encode_transaction(const Design& design);

// Throws kInvalidFile with the byte offset for a stream that is cut short, claims other sizes than
// it has, or holds an unknown record.
Transaction decode_transaction(std::span<const uint32_t> words);

}  // namespace tandem::npu
