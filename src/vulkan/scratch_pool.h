// Working memory of programs, shared by all of a device: they run one after another.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "vulkan/memory.h"

namespace tandem::vulkan {

// Memory that lives from one dispatch to a later one of the same node, by use.
enum class Scratch : uint8_t {
  kStream,
  kProduct,
  kHidden,
  kGateUp,
  kNormed,
  kAttention,
  kTopK,
  kPrepared,
  kMatmulX,
  kMatmulScale,
  kMatmulSplits,
};
inline constexpr size_t kScratchCount = 11;

struct ScratchPiece {
  VkDeviceAddress address = 0;
  size_t size = 0;
};

// Every command buffer begins with a barrier against what was submitted before it, so a program
// finds the memory free whatever the one before did with it.
class ScratchPool {
 public:
  explicit ScratchPool(Memory& memory) : memory_(memory) {}

  // At least `size` bytes; exactly so many, zeroed when they were made, with `zeroed`: they hold
  // counters whose place depends on the size. Lives as long as the pool.
  ScratchPiece get(Scratch use, size_t size, bool zeroed);

 private:
  struct Entry {
    Scratch use;
    bool zeroed;
    size_t size;  // as asked for
    Buffer buffer;
  };

  Memory& memory_;
  std::vector<Entry> entries_;
};

}  // namespace tandem::vulkan
