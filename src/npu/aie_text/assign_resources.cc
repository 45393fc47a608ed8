// Numbers and addresses the text leaves open: lock ids, buffer addresses, descriptor ids; each the
// first free one, in textual order, as mlir-aie assigns them.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "npu/aie_text/lowering.h"

namespace tandem::npu {
namespace {

void assign_lock_ids(DeviceLowering& lowering) {
  std::map<TileCoordinate, std::set<int>> used;
  for (const LockDecl& lock : lowering.out.locks) {
    if (lock.id >= 0 && !used[lock.tile].insert(lock.id).second)
      lowering.fail(lock.location, fmt::format("lock {} of tile {} is declared twice", lock.id,
                                               to_text(lock.tile)));
  }
  for (LockDecl& lock : lowering.out.locks) {
    if (lock.id >= 0) continue;
    int id = 0;
    while (used[lock.tile].contains(id)) ++id;
    if (id >= static_cast<int>(lowering.limits(lock.tile).locks))
      lowering.fail(lock.location,
                    fmt::format("tile {} has {} locks and the design needs more",
                                to_text(lock.tile), lowering.limits(lock.tile).locks));
    lock.id = id;
    used[lock.tile].insert(id);
  }
}

// Bytes at the bottom of a core tile's memory that belong to its stack.
uint32_t stack_size(const DeviceLowering& lowering, TileCoordinate tile) {
  for (const CoreDecl& core : lowering.out.cores)
    if (core.tile == tile) return static_cast<uint32_t>(core.stack_size);
  return 0;
}

// Sequential from the largest to the smallest, above the stack and around what has an address.
void place_buffers(DeviceLowering& lowering, TileCoordinate tile) {
  std::vector<BufferDecl*> open;
  std::vector<BufferDecl*> fixed;
  for (BufferDecl& buffer : lowering.out.buffers)
    if (buffer.tile == tile) (buffer.placed ? fixed : open).push_back(&buffer);
  std::stable_sort(open.begin(), open.end(),
                   [](const BufferDecl* a, const BufferDecl* b) { return a->size > b->size; });
  std::stable_sort(fixed.begin(), fixed.end(), [](const BufferDecl* a, const BufferDecl* b) {
    return a->address < b->address;
  });
  for (size_t i = 1; i < fixed.size(); ++i)
    if (fixed[i - 1]->address + fixed[i - 1]->size > fixed[i]->address)
      lowering.warn(fixed[i]->location, fmt::format("buffers '{}' and '{}' overlap",
                                                    fixed[i - 1]->name, fixed[i]->name));
  uint32_t address = stack_size(lowering, tile);
  size_t next_fixed = 0;
  uint64_t total = address;
  for (const BufferDecl* buffer : fixed) total += buffer->size;
  for (BufferDecl* buffer : open) {
    total += buffer->size;
    address = (address + 3) & ~3u;
    while (next_fixed < fixed.size() && address + buffer->size > fixed[next_fixed]->address) {
      address = std::max(address, fixed[next_fixed]->address + fixed[next_fixed]->size);
      ++next_fixed;
    }
    buffer->address = address;
    buffer->placed = true;
    address += buffer->size;
    if (address > lowering.limits(tile).memory)
      lowering.fail(buffer->location,
                    fmt::format("allocated buffers exceeded available memory: tile {} has {} "
                                "bytes and needs at least {} (stack {})",
                                to_text(tile), lowering.limits(tile).memory, total,
                                stack_size(lowering, tile)));
  }
}

// A mem tile's even channels use the lower half of its descriptors, odd ones the upper.
bool descriptor_reachable(const DeviceLowering& lowering, const DmaChain& chain, int id) {
  const int count = static_cast<int>(lowering.limits(chain.tile).descriptors);
  if (id >= count) return false;
  return lowering.kind(chain.tile) != TileKind::kMem ||
         (id < count / 2) == (chain.channel % 2 == 0);
}

void assign_descriptor_ids(DeviceLowering& lowering) {
  std::map<TileCoordinate, std::set<int>> used;
  for (const DmaChain& chain : lowering.chains) {
    for (const DmaBlock& block : chain.blocks) {
      if (block.descriptor_id < 0) continue;
      if (!descriptor_reachable(lowering, chain, block.descriptor_id))
        lowering.fail(block.location,
                      fmt::format("descriptor {} cannot be used by channel {} of tile {}",
                                  block.descriptor_id, chain.channel, to_text(chain.tile)));
      if (!used[chain.tile].insert(block.descriptor_id).second)
        lowering.fail(block.location, fmt::format("descriptor {} of tile {} is given twice",
                                                  block.descriptor_id, to_text(chain.tile)));
    }
  }
  for (DmaChain& chain : lowering.chains) {
    for (DmaBlock& block : chain.blocks) {
      if (block.descriptor_id >= 0) continue;
      const int count = static_cast<int>(lowering.limits(chain.tile).descriptors);
      int id = 0;
      while (id < count &&
             (used[chain.tile].contains(id) || !descriptor_reachable(lowering, chain, id)))
        ++id;
      if (id == count)
        lowering.fail(block.location,
                      fmt::format("tile {} has {} buffer descriptors and channel {} finds none "
                                  "free",
                                  to_text(chain.tile), count, chain.channel));
      block.descriptor_id = id;
      used[chain.tile].insert(id);
    }
  }
}

void emit_descriptors(DeviceLowering& lowering) {
  for (const DmaChain& chain : lowering.chains) {
    for (const DmaBlock& block : chain.blocks) {
      BufferDescriptor descriptor = make_descriptor(lowering, chain, block);
      if (descriptor.address % kWordSize != 0)
        lowering.fail(block.location, fmt::format("the address {} is not a multiple of {} bytes",
                                                  descriptor.address, kWordSize));
      if (block.next >= 0) {
        descriptor.use_next = true;
        descriptor.next = chain.blocks[static_cast<size_t>(block.next)].descriptor_id;
      }
      lowering.out.descriptors.push_back({chain.tile, block.descriptor_id, descriptor});
    }
    lowering.out.starts.push_back({chain.tile, chain.direction, chain.channel,
                                   chain.blocks[static_cast<size_t>(chain.start)].descriptor_id,
                                   chain.repeat_count, chain.location});
  }
}

}  // namespace

void assign_resources(DeviceLowering& lowering) {
  assign_lock_ids(lowering);
  for (const TileCoordinate& tile : lowering.out.tiles) place_buffers(lowering, tile);
  assign_descriptor_ids(lowering);
  emit_descriptors(lowering);
}

}  // namespace tandem::npu
