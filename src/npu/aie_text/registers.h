// Where the array's registers are and how a buffer descriptor is laid out in them (mlir-aie,
// AIETargetModel.cpp and AIEDmaToNpu.cpp; AMD AM025). Addresses are offsets inside a tile.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "npu/aie_text/design.h"

namespace tandem::npu {

inline constexpr uint32_t kDescriptorStep = 0x20;    // bytes between descriptors
inline constexpr uint32_t kLockStep = 0x10;          // bytes between lock values
inline constexpr uint64_t kMemTileWindow = 0x80000;  // west neighbour 0, own 1, east 2 windows
inline constexpr int kMemTileLocks = 64;             // lock numbers of each window

constexpr uint32_t array_address(TileCoordinate tile, uint32_t offset) {
  return (static_cast<uint32_t>(tile.column) << 25) | (static_cast<uint32_t>(tile.row) << 20) |
         offset;
}
constexpr TileCoordinate tile_of_address(uint32_t address) {
  return {static_cast<int>(address >> 25), static_cast<int>((address >> 20) & 0x1F)};
}
constexpr uint32_t offset_of_address(uint32_t address) { return address & 0xFFFFF; }

uint32_t descriptor_register(TileKind kind, int id);
uint32_t descriptor_words(TileKind kind);  // 6 or 8
uint32_t channel_control_register(TileKind kind, DmaDirection direction, int channel);
inline uint32_t channel_queue_register(TileKind kind, DmaDirection direction, int channel) {
  return channel_control_register(kind, direction, channel) + 4;
}
uint32_t lock_register(TileKind kind, int id);

// What a register offset names.
struct RegisterName {
  enum class Kind : uint8_t { kMemory, kDescriptor, kChannelControl, kChannelQueue, kLock, kOther };
  Kind kind = Kind::kOther;
  int id = 0;         // descriptor, channel or lock
  uint32_t word = 0;  // of a descriptor; byte offset of kMemory
  DmaDirection direction = DmaDirection::kS2MM;
};
RegisterName name_register(const TileGeometry& geometry, TileKind kind, uint32_t offset);

std::vector<uint32_t> encode_descriptor(TileKind kind, const BufferDescriptor& descriptor);
BufferDescriptor decode_descriptor(TileKind kind, std::span<const uint32_t> words);

// Host buffers in the address space of shim descriptors: argument and byte.
constexpr uint64_t host_address(int argument, uint64_t offset) {
  return (static_cast<uint64_t>(argument + 1) << 36) + offset;
}
constexpr int host_argument(uint64_t address) { return static_cast<int>(address >> 36) - 1; }
constexpr uint64_t host_offset(uint64_t address) { return address & ((uint64_t{1} << 36) - 1); }

}  // namespace tandem::npu
