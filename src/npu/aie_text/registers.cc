// See registers.h.
// SPDX-License-Identifier: Apache-2.0
#include "npu/aie_text/registers.h"

#include <array>

#include "base/check.h"

namespace tandem::npu {
namespace {

struct RegisterMap {
  uint32_t descriptors;
  uint32_t control;        // of S2MM channel 0; channels 8 apart
  uint32_t mm2s_distance;  // from the S2MM channels to the MM2S ones
  uint32_t locks;
};

constexpr std::array<RegisterMap, 3> kMaps = {{
    {0x1D000, 0x1D200, 0x10, 0x14000},  // shim
    {0xA0000, 0xA0600, 0x30, 0xC0000},  // mem
    {0x1D000, 0x1DE00, 0x10, 0x1F000},  // core
}};

const RegisterMap& map_of(TileKind kind) { return kMaps[static_cast<size_t>(kind)]; }

constexpr uint32_t kBits(int count) { return (uint32_t{1} << count) - 1; }

// One bit field of a register block.
struct Field {
  int word;
  int low;
  int bits;
};

// Where a descriptor's fields are; bits = 0: the tile has no such field.
struct DescriptorLayout {
  Field length, address, address_high;
  Field packet_enable, packet_type, packet_id;
  std::array<Field, 4> sizes, steps;
  std::array<Field, 3> pad_before, pad_after;
  Field iteration_current, iteration_size, iteration_step;
  Field next, use_next, valid, suppress_last;
  Field release_value, release_id, acquire_enable, acquire_value, acquire_id;
  bool word_address;  // the address counts 32-bit words
};

constexpr Field kNone{0, 0, 0};

constexpr DescriptorLayout kShimLayout = {{0, 0, 32},
                                          {1, 0, 32},
                                          {2, 0, 16},
                                          {2, 30, 1},
                                          {2, 16, 3},
                                          {2, 19, 5},
                                          {{{3, 20, 10}, {4, 20, 10}, kNone, kNone}},
                                          {{{3, 0, 20}, {4, 0, 20}, {5, 0, 20}, kNone}},
                                          {{kNone, kNone, kNone}},
                                          {{kNone, kNone, kNone}},
                                          {6, 26, 6},
                                          {6, 20, 6},
                                          {6, 0, 20},
                                          {7, 27, 4},
                                          {7, 26, 1},
                                          {7, 25, 1},
                                          {7, 31, 1},
                                          {7, 18, 7},
                                          {7, 13, 4},
                                          {7, 12, 1},
                                          {7, 5, 7},
                                          {7, 0, 4},
                                          false};

constexpr DescriptorLayout kMemLayout = {{0, 0, 17},
                                         {1, 0, 19},
                                         kNone,
                                         {0, 31, 1},
                                         {0, 28, 3},
                                         {0, 23, 5},
                                         {{{2, 17, 10}, {3, 17, 10}, {4, 17, 10}, kNone}},
                                         {{{2, 0, 17}, {3, 0, 17}, {4, 0, 17}, {5, 0, 17}}},
                                         {{{1, 26, 6}, {3, 27, 5}, {4, 27, 4}}},
                                         {{{5, 17, 6}, {5, 23, 5}, {5, 28, 4}}},
                                         {6, 23, 6},
                                         {6, 17, 6},
                                         {6, 0, 17},
                                         {1, 20, 6},
                                         {1, 19, 1},
                                         {7, 31, 1},
                                         {2, 31, 1},
                                         {7, 24, 7},
                                         {7, 16, 8},
                                         {7, 15, 1},
                                         {7, 8, 7},
                                         {7, 0, 8},
                                         true};

constexpr DescriptorLayout kCoreLayout = {{0, 0, 14},
                                          {0, 14, 14},
                                          kNone,
                                          {1, 30, 1},
                                          {1, 16, 3},
                                          {1, 19, 5},
                                          {{{3, 13, 8}, {3, 21, 8}, kNone, kNone}},
                                          {{{2, 0, 13}, {2, 13, 13}, {3, 0, 13}, kNone}},
                                          {{kNone, kNone, kNone}},
                                          {{kNone, kNone, kNone}},
                                          {4, 19, 6},
                                          {4, 13, 6},
                                          {4, 0, 13},
                                          {5, 27, 4},
                                          {5, 26, 1},
                                          {5, 25, 1},
                                          {5, 31, 1},
                                          {5, 18, 7},
                                          {5, 13, 4},
                                          {5, 12, 1},
                                          {5, 5, 7},
                                          {5, 0, 4},
                                          true};

const DescriptorLayout& layout_of(TileKind kind) {
  return kind == TileKind::kShim ? kShimLayout : kind == TileKind::kMem ? kMemLayout : kCoreLayout;
}

uint32_t get(std::span<const uint32_t> words, Field field) {
  if (field.bits == 0) return 0;
  const uint32_t word = words[static_cast<size_t>(field.word)] >> field.low;
  return field.bits == 32 ? word : word & kBits(field.bits);
}

void put(std::vector<uint32_t>& words, Field field, uint32_t value) {
  if (field.bits == 0) return;
  words[static_cast<size_t>(field.word)] |= (field.bits == 32 ? value : value & kBits(field.bits))
                                            << field.low;
}

int sign_extend(uint32_t value, int bits) {
  const uint32_t sign = uint32_t{1} << (bits - 1);
  return static_cast<int>((value ^ sign) - sign);
}

}  // namespace

uint32_t descriptor_register(TileKind kind, int id) {
  return map_of(kind).descriptors + kDescriptorStep * static_cast<uint32_t>(id);
}

uint32_t descriptor_words(TileKind kind) { return kind == TileKind::kCore ? 6 : 8; }

uint32_t channel_control_register(TileKind kind, DmaDirection direction, int channel) {
  const RegisterMap& map = map_of(kind);
  return map.control + 8 * static_cast<uint32_t>(channel) +
         (direction == DmaDirection::kMM2S ? map.mm2s_distance : 0);
}

uint32_t lock_register(TileKind kind, int id) {
  return map_of(kind).locks + kLockStep * static_cast<uint32_t>(id);
}

RegisterName name_register(const TileGeometry& geometry, TileKind kind, uint32_t offset) {
  using Kind = RegisterName::Kind;
  const RegisterMap& map = map_of(kind);
  if (offset < geometry.memory) return {Kind::kMemory, 0, offset, DmaDirection::kS2MM};
  const auto inside = [offset](uint32_t base, uint32_t size) {
    return offset >= base && offset - base < size;
  };
  if (inside(map.descriptors, kDescriptorStep * geometry.descriptors)) {
    const uint32_t at = offset - map.descriptors;
    return {Kind::kDescriptor, static_cast<int>(at / kDescriptorStep), at % kDescriptorStep / 4,
            DmaDirection::kS2MM};
  }
  for (const DmaDirection direction : {DmaDirection::kS2MM, DmaDirection::kMM2S}) {
    const uint32_t base = channel_control_register(kind, direction, 0);
    if (!inside(base, 8 * geometry.channels)) continue;
    const uint32_t at = offset - base;
    return {at % 8 == 0 ? Kind::kChannelControl : Kind::kChannelQueue, static_cast<int>(at / 8), 0,
            direction};
  }
  if (inside(map.locks, kLockStep * geometry.locks))
    return {Kind::kLock, static_cast<int>((offset - map.locks) / kLockStep), 0,
            DmaDirection::kS2MM};
  return {};
}

std::vector<uint32_t> encode_descriptor(TileKind kind, const BufferDescriptor& d) {
  const DescriptorLayout& layout = layout_of(kind);
  std::vector<uint32_t> words(descriptor_words(kind), 0);
  put(words, layout.length, d.length);
  put(words, layout.address,
      static_cast<uint32_t>(layout.word_address ? d.address / 4 : d.address));
  put(words, layout.address_high, static_cast<uint32_t>(d.address >> 32));
  put(words, layout.packet_enable, d.packet_enabled ? 1 : 0);
  put(words, layout.packet_type, d.packet_type);
  put(words, layout.packet_id, d.packet_id);
  for (size_t i = 0; i < 4; ++i) {
    put(words, layout.sizes[i], d.dimensions[i].size);
    put(words, layout.steps[i], d.dimensions[i].stride - 1);
  }
  for (size_t i = 0; i < 3; ++i) {
    put(words, layout.pad_before[i], d.pad_before[i]);
    put(words, layout.pad_after[i], d.pad_after[i]);
  }
  put(words, layout.iteration_current, d.iteration_current);
  put(words, layout.iteration_size, d.iteration_size - 1);
  put(words, layout.iteration_step, d.iteration_stride == 0 ? 0 : d.iteration_stride - 1);
  put(words, layout.next, static_cast<uint32_t>(d.next));
  put(words, layout.use_next, d.use_next ? 1 : 0);
  put(words, layout.valid, d.valid ? 1 : 0);
  put(words, layout.suppress_last, d.suppress_last ? 1 : 0);
  put(words, layout.release_value, static_cast<uint32_t>(d.release_value));
  put(words, layout.release_id, static_cast<uint32_t>(d.release_lock));
  put(words, layout.acquire_enable, d.acquire_enabled ? 1 : 0);
  put(words, layout.acquire_value, static_cast<uint32_t>(d.acquire_value));
  put(words, layout.acquire_id, static_cast<uint32_t>(d.acquire_lock));
  if (kind == TileKind::kShim) words[5] |= 2u << 24;  // AxCache: lets the NoC widen bursts
  return words;
}

BufferDescriptor decode_descriptor(TileKind kind, std::span<const uint32_t> words) {
  TANDEM_CHECK(words.size() >= descriptor_words(kind), "%zu words", words.size());
  const DescriptorLayout& layout = layout_of(kind);
  BufferDescriptor d;
  d.length = get(words, layout.length);
  d.address = get(words, layout.address);
  if (layout.word_address) d.address *= 4;
  d.address |= static_cast<uint64_t>(get(words, layout.address_high)) << 32;
  d.packet_enabled = get(words, layout.packet_enable) != 0;
  d.packet_type = static_cast<uint8_t>(get(words, layout.packet_type));
  d.packet_id = static_cast<uint8_t>(get(words, layout.packet_id));
  for (size_t i = 0; i < 4; ++i) {
    d.dimensions[i].size = get(words, layout.sizes[i]);
    d.dimensions[i].stride = get(words, layout.steps[i]) + 1;
  }
  for (size_t i = 0; i < 3; ++i) {
    d.pad_before[i] = get(words, layout.pad_before[i]);
    d.pad_after[i] = get(words, layout.pad_after[i]);
  }
  d.iteration_current = get(words, layout.iteration_current);
  d.iteration_size = get(words, layout.iteration_size) + 1;
  d.iteration_stride = get(words, layout.iteration_step) + 1;
  d.next = static_cast<int>(get(words, layout.next));
  d.use_next = get(words, layout.use_next) != 0;
  d.valid = get(words, layout.valid) != 0;
  d.suppress_last = get(words, layout.suppress_last) != 0;
  d.release_value = sign_extend(get(words, layout.release_value), 7);
  d.release_lock = static_cast<int>(get(words, layout.release_id));
  d.acquire_enabled = get(words, layout.acquire_enable) != 0;
  d.acquire_value = sign_extend(get(words, layout.acquire_value), 7);
  d.acquire_lock = static_cast<int>(get(words, layout.acquire_id));
  return d;
}

}  // namespace tandem::npu
