// DMA programs: aie.mem, aie.memtile_dma and aie.shim_dma in both spellings, and the descriptor
// each aie.dma_bd stands for.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cstdlib>

#include "npu/aie_text/lowering.h"

namespace tandem::npu {
namespace {

using mlir::Attribute;
using mlir::Operation;

void read_lock_use(DeviceLowering& lowering, const Operation& op, DmaBlock& block) {
  LockUse use;
  use.lock = lowering.lock_operand(op, 0);
  use.value = static_cast<int>(integer_in(lowering, op, "value", 0, kMaxLockValue, 1));
  const std::string action = text_of(lowering, op, "action");
  use.greater_equal = action == "AcquireGreaterEqual" || action == "2";
  const bool release = action == "Release" || action == "1";
  if (!release && !use.greater_equal && action != "Acquire" && action != "0")
    lowering.fail(op.location, fmt::format("expected Acquire, AcquireGreaterEqual or Release, "
                                           "found '{}'",
                                           action));
  LockUse& slot = release ? block.release : block.acquire;
  if (slot.lock >= 0)
    lowering.fail(op.location, fmt::format("a descriptor's block has at most one {}",
                                           release ? "release" : "acquire"));
  slot = use;
}

void read_descriptor(DeviceLowering& lowering, const Operation& op, const HostReferences* arguments,
                     DmaBlock& block) {
  if (op.operands.empty()) lowering.fail(op.location, "aie.dma_bd needs a buffer");
  const mlir::ValueId operand = op.operands[0];
  const HostReferences::const_iterator host =
      arguments == nullptr ? HostReferences::const_iterator{} : arguments->find(operand);
  if (arguments != nullptr && host != arguments->end()) {
    block.argument = host->second.argument;
    block.argument_offset = host->second.offset;
  } else {
    block.buffer = lowering.buffer_operand(op, 0);
  }
  mlir::Type type = lowering.value(operand).type;
  if (const Attribute* written = op.attribute("type")) type = written->type;
  block.location = op.location;
  block.element_bits = type.scalar.bits;
  block.buffer_elements = type.element_count();
  if (block.buffer >= 0)
    block.buffer_elements = int64_t{lowering.out.buffers[static_cast<size_t>(block.buffer)].size} *
                            8 / block.element_bits;
  block.offset = integer_in(lowering, op, "offset", 0, int64_t{1} << 40, 0);
  block.dimensions = dimensions_of(lowering, op.attribute("dimensions"));
  block.padding = padding_of(lowering, op.attribute("pad_dimensions"));
  block.pad_value = integer_of(lowering, op, "pad_value", 0);
  if (op.attribute("len") != nullptr || block.buffer_elements < 0)
    block.length = integer_in(lowering, op, "len", 1, int64_t{1} << 40);
  else
    block.length = block.buffer_elements - block.offset;
  block.descriptor_id = static_cast<int>(integer_in(lowering, op, "bd_id", -1, 47, -1));
  block.next_descriptor = static_cast<int>(integer_in(lowering, op, "next_bd_id", -1, 47, -1));
  if (const Attribute* packet = op.attribute("packet")) block.packet = packet_of(lowering, *packet);
}

}  // namespace

std::pair<int, int> packet_of(const DeviceLowering& lowering, const Attribute& packet) {
  const auto field = [&](std::string_view key, int64_t high) {
    const Attribute* value = packet.field(key);
    const int64_t number = value == nullptr ? 0 : value->integer;
    if (number < 0 || number > high)
      lowering.fail(packet.location, fmt::format("{} is from 0 to {}", key, high));
    return static_cast<int>(number);
  };
  return {field("pkt_type", 7), field("pkt_id", 31)};
}

void check_burst_length(const DeviceLowering& lowering, const Operation& op, TileKind kind) {
  const int64_t length = integer_of(lowering, op, "burst_length", 0);
  if (length == 0) return;
  if (kind != TileKind::kShim)
    lowering.fail(op.location, "only the DMA of a shim tile has a burst length");
  const bool npu2 = lowering.geometry.generation == Generation::kNpu2;
  if (length != 64 && length != 128 && length != 256 && !(npu2 && length == 512))
    lowering.fail(op.location, fmt::format("a burst length is 64, 128{} bytes, not {}",
                                           npu2 ? ", 256 or 512" : " or 256", length));
}

DmaBlock read_dma_block(DeviceLowering& lowering, TileCoordinate tile, const mlir::Block& text,
                        const HostReferences* arguments) {
  DmaBlock block;
  const Operation* descriptor = nullptr;
  for (const Operation& op : text.operations) {
    if (op.name == "aie.use_lock") {
      read_lock_use(lowering, op, block);
    } else if (op.name == "aie.dma_bd") {
      if (descriptor != nullptr)
        lowering.fail(op.location, "a block of a DMA program has exactly one aie.dma_bd");
      descriptor = &op;
      check_burst_length(lowering, op, lowering.kind(tile));
      read_descriptor(lowering, op, arguments, block);
    } else if (op.name == "aie.dma_bd_packet") {
      block.packet = {static_cast<int>(integer_in(lowering, op, "packet_type", 0, 7)),
                      static_cast<int>(integer_in(lowering, op, "packet_id", 0, 31))};
    } else if (op.name != "aie.next_bd" && op.name != "aie.end" && op.name != "aie.buffer" &&
               op.name != "aie.lock") {
      lowering.fail(op.location, fmt::format("{} cannot stand in a DMA program", op.name));
    }
  }
  if (descriptor == nullptr)
    lowering.fail(text.location, fmt::format("expected an aie.dma_bd in this block of the DMA of "
                                             "tile {}",
                                             to_text(tile)));
  for (const LockUse& use : {block.acquire, block.release}) {
    if (use.lock < 0 || lowering.kind(tile) == TileKind::kMem) continue;
    if (lowering.out.locks[static_cast<size_t>(use.lock)].tile != tile)
      lowering.fail(block.location, fmt::format("the DMA of tile {} can only use locks of its own "
                                                "tile",
                                                to_text(tile)));
  }
  return block;
}

namespace {

void check_channel(const DeviceLowering& lowering, const DmaChain& chain) {
  const auto channels = static_cast<int>(lowering.limits(chain.tile).channels);
  if (chain.channel >= channels)
    lowering.fail(chain.location,
                  fmt::format("tile {} has {} channels 0 to {}, not {}", to_text(chain.tile),
                              to_text(chain.direction), channels - 1, chain.channel));
}

DmaChain open_chain(DeviceLowering& lowering, TileCoordinate tile, const Operation& op) {
  DmaChain chain;
  chain.tile = tile;
  chain.direction = direction_of(lowering, op, "channel_dir");
  chain.channel = static_cast<int>(integer_in(lowering, op, "channel_index", 0, 31));
  chain.repeat_count = static_cast<int>(
      integer_in(lowering, op, "repeat_count", 0, lowering.geometry.max_repeat - 1, 0));
  chain.location = op.location;
  check_channel(lowering, chain);
  return chain;
}

// Follows next_bd from the first block of an aie.dma_start.
void read_start(DeviceLowering& lowering, TileCoordinate tile, const mlir::Region& region,
                const Operation& op) {
  DmaChain chain = open_chain(lowering, tile, op);
  if (op.successors.size() != 2)
    lowering.fail(op.location, "aie.dma_start needs a descriptor block and a next block");
  std::map<std::string, int> index_of_label;
  std::string label = op.successors[0].block;
  int previous = -1;
  for (;;) {
    if (const auto seen = index_of_label.find(label); seen != index_of_label.end()) {
      chain.blocks[static_cast<size_t>(previous)].next = seen->second;
      break;
    }
    const mlir::Block* text = region.find_block(label);
    if (text == nullptr)
      lowering.fail(op.location, fmt::format("there is no block '^{}' in this region", label));
    const bool only_end = text->operations.size() == 1 && text->operations.back().name == "aie.end";
    if (only_end && previous >= 0) break;
    const int index = static_cast<int>(chain.blocks.size());
    chain.blocks.push_back(read_dma_block(lowering, tile, *text, nullptr));
    index_of_label[label] = index;
    if (previous >= 0) chain.blocks[static_cast<size_t>(previous)].next = index;
    previous = index;
    const Operation& last = text->operations.back();
    if (last.name == "aie.end") break;
    if (last.name != "aie.next_bd" || last.successors.empty())
      lowering.fail(last.location, "a descriptor's block ends in aie.next_bd or aie.end");
    label = last.successors[0].block;
  }
  lowering.chains.push_back(std::move(chain));
}

// aie.dma(S2MM, 0) [{...}, {...}]
void read_compact(DeviceLowering& lowering, TileCoordinate tile, const Operation& op) {
  DmaChain chain = open_chain(lowering, tile, op);
  if (op.regions.empty()) lowering.fail(op.location, "aie.dma needs at least one descriptor");
  for (const auto& region : op.regions) {
    if (region->blocks.size() != 1)
      lowering.fail(op.location, "a descriptor of aie.dma is one block");
    chain.blocks.push_back(read_dma_block(lowering, tile, region->blocks.front(), nullptr));
    chain.blocks.back().next = static_cast<int>(chain.blocks.size());
  }
  chain.blocks.back().next = flag_of(op, "loop", true) ? 0 : -1;
  lowering.chains.push_back(std::move(chain));
}

void read_program(DeviceLowering& lowering, const Operation& op, TileKind expected) {
  const TileCoordinate tile = lowering.tile_operand(op, 0);
  if (lowering.kind(tile) != expected)
    lowering.fail(op.location, fmt::format("{} does not fit tile {}", op.name, to_text(tile)));
  for (const auto& region : op.regions)
    for (const mlir::Block& block : region->blocks)
      for (const Operation& inner : block.operations) {
        if (inner.name == "aie.dma_start") read_start(lowering, tile, *region, inner);
        if (inner.name == "aie.dma" && region->blocks.size() > 1)
          lowering.fail(inner.location, "aie.dma stands in a program of one block only");
        if (inner.name == "aie.dma") read_compact(lowering, tile, inner);
      }
}

}  // namespace

void lower_dma_programs(DeviceLowering& lowering) {
  mlir::walk(*lowering.operation.regions[0], [&](const Operation& op) {
    if (op.name == "aie.mem") read_program(lowering, op, TileKind::kCore);
    if (op.name == "aie.memtile_dma") read_program(lowering, op, TileKind::kMem);
    if (op.name == "aie.shim_dma") read_program(lowering, op, TileKind::kShim);
    return false;
  });
}

uint64_t dma_address(const DeviceLowering& lowering, TileCoordinate tile, const BufferDecl& buffer,
                     SourceLocation location) {
  if (lowering.kind(tile) == TileKind::kMem && lowering.kind(buffer.tile) == TileKind::kMem) {
    const int distance = buffer.tile.column - tile.column;
    if (distance >= -1 && distance <= 1)
      return kMemTileWindow * static_cast<uint64_t>(distance + 1) + buffer.address;
  } else if (buffer.tile == tile) {
    return buffer.address;
  }
  lowering.fail(location, fmt::format("the DMA of tile {} cannot reach buffer '{}' of tile {}",
                                      to_text(tile), buffer.name, to_text(buffer.tile)));
}

int dma_lock_id(const DeviceLowering& lowering, TileCoordinate tile, const LockDecl& lock,
                SourceLocation location) {
  if (lowering.kind(tile) == TileKind::kMem && lowering.kind(lock.tile) == TileKind::kMem) {
    const int distance = lock.tile.column - tile.column;
    if (distance >= -1 && distance <= 1) return kMemTileLocks * (distance + 1) + lock.id;
  } else if (lock.tile == tile) {
    return lock.id;
  }
  lowering.fail(location, fmt::format("the DMA of tile {} cannot reach lock '{}' of tile {}",
                                      to_text(tile), lock.name, to_text(lock.tile)));
}

}  // namespace tandem::npu
