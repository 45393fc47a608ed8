// SPDX-License-Identifier: Apache-2.0
#include "vulkan/scratch_pool.h"

#include <cstring>
#include <utility>

namespace tandem::vulkan {

ScratchPiece ScratchPool::get(Scratch use, size_t size, bool zeroed) {
  for (const Entry& entry : entries_) {
    if (entry.use == use && entry.zeroed == zeroed &&
        (zeroed ? entry.size == size : entry.size >= size))
      return {entry.buffer.address(), entry.size};
  }
  Buffer buffer = memory_.allocate(size, Placement::kDevice, "working buffers");
  if (zeroed)
    memory_.upload(buffer, 0, size, [](std::span<std::byte> chunk, size_t) {
      std::memset(chunk.data(), 0, chunk.size());
    });
  entries_.push_back({use, zeroed, size, std::move(buffer)});
  return {entries_.back().buffer.address(), size};
}

}  // namespace tandem::vulkan
