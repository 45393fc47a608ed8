// SPDX-License-Identifier: Apache-2.0
#include "vulkan/weight_layout.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

#include "base/check.h"
#include "tensor/quant_q4_0.h"
#include "tensor/quant_q4_k.h"
#include "tensor/quant_q6_k.h"
#include "tensor/quant_q8_0.h"

namespace tandem::vulkan {
namespace {

constexpr size_t kTile = 256;  // weights
constexpr size_t kGroup = 32;  // weights
constexpr size_t kGroups = kTile / kGroup;

// Packs `blocks` file blocks, at most one tile's worth, into one tile.
using PackTile = void (*)(const std::byte* file, size_t blocks, std::byte* tile);

void pack_q4_0(const std::byte* file, size_t blocks, std::byte* tile) {
  for (size_t g = 0; g < blocks; ++g) {
    const std::byte* block = file + g * sizeof(BlockQ4_0);
    std::memcpy(tile + 16 * g, block + offsetof(BlockQ4_0, nibbles), 16);
    std::memcpy(tile + 128 + 2 * g, block + offsetof(BlockQ4_0, scale), 2);
  }
}

void pack_q8_0(const std::byte* file, size_t blocks, std::byte* tile) {
  for (size_t g = 0; g < blocks; ++g) {
    const std::byte* block = file + g * sizeof(BlockQ8_0);
    std::memcpy(tile + 32 * g, block + 2, 32);
    std::memcpy(tile + 256 + 2 * g, block, 2);
  }
}

void pack_q4_k(const std::byte* file, size_t, std::byte* tile) {
  std::memcpy(tile, file, 16);
  const auto* nibbles = reinterpret_cast<const uint8_t*>(file) + offsetof(BlockQ4K, nibbles);
  auto* out = reinterpret_cast<uint8_t*>(tile) + 16;
  for (size_t g = 0; g < kGroups; ++g)
    for (size_t k = 0; k < 16; ++k) {
      const uint8_t first = nibbles[32 * (g / 2) + k], second = nibbles[32 * (g / 2) + k + 16];
      out[16 * g + k] = static_cast<uint8_t>(g % 2 == 0 ? (first & 15) | (second & 15) << 4
                                                        : first >> 4 | (second >> 4) << 4);
    }
}

void pack_q6_k(const std::byte* file, size_t, std::byte* tile) {
  BlockQ6K block;
  std::memcpy(&block, file, sizeof block);
  auto* out = reinterpret_cast<uint8_t*>(tile);
  std::memset(out, 0, 224);
  for (size_t n = 0; n < kTile; ++n) {
    const size_t half = n / 128, j = n % 128 / 32, i = n % 32;
    const uint8_t byte = block.nibbles[half * 64 + j % 2 * 32 + i];
    const unsigned low = j < 2 ? byte & 15u : byte >> 4;
    const unsigned high = (unsigned{block.pairs[half * 32 + i]} >> (2 * j)) & 3u;
    const size_t g = n / kGroup, k = i % 16, h = i / 16;
    uint8_t& low_byte = out[16 * g + k];
    low_byte = static_cast<uint8_t>(low_byte | low << (4 * h));
    uint8_t& high_byte = out[128 + 8 * g + 4 * h + k % 4];
    high_byte = static_cast<uint8_t>(high_byte | high << (2 * (k / 4)));
  }
  std::memcpy(out + 192, block.scales, 16);
  std::memcpy(out + 208, &block.scale, 2);
}

struct Layout {
  DType dtype;
  size_t tile_size;  // bytes of a packed tile
  PackTile pack;
};
constexpr std::array kLayouts = {
    Layout{DType::kQ4_0, 144, pack_q4_0},
    Layout{DType::kQ8_0, 272, pack_q8_0},
    Layout{DType::kQ4K, 144, pack_q4_k},
    Layout{DType::kQ6K, 224, pack_q6_k},
};

const Layout* find_layout(DType dtype) {
  const auto* row = std::find_if(kLayouts.begin(), kLayouts.end(),
                                 [&](const Layout& layout) { return layout.dtype == dtype; });
  return row == kLayouts.end() ? nullptr : row;
}

bool is_plain(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

}  // namespace

bool has_weight_layout(DType dtype) { return is_plain(dtype) || find_layout(dtype) != nullptr; }

size_t packed_row_size(DType dtype, size_t count) {
  if (is_plain(dtype)) return dtype_size(dtype, (count + kGroup - 1) / kGroup * kGroup);
  TANDEM_CHECK(count % kGroup == 0, "%zu weights are no whole groups of %zu", count, kGroup);
  return (count + kTile - 1) / kTile * find_layout(dtype)->tile_size;
}

void pack_row(DType dtype, std::span<const std::byte> row, std::span<std::byte> packed) {
  if (is_plain(dtype)) {
    std::memcpy(packed.data(), row.data(), row.size());
    std::fill(packed.begin() + static_cast<std::ptrdiff_t>(row.size()), packed.end(), std::byte{});
    return;
  }
  const Layout& layout = *find_layout(dtype);
  const size_t block_size = dtype_info(dtype).block_size;
  const size_t tile_blocks = kTile / dtype_info(dtype).block_count;
  const size_t blocks = row.size() / block_size;
  std::byte* tile = packed.data();
  for (size_t first = 0; first < blocks; first += tile_blocks, tile += layout.tile_size)
    layout.pack(row.data() + first * block_size, std::min(tile_blocks, blocks - first), tile);
}

}  // namespace tandem::vulkan
