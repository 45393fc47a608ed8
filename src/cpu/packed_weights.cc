// SPDX-License-Identifier: Apache-2.0
#include "cpu/packed_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/error.h"
#include "cpu/packed_layout.h"
#include "tensor/quant_q4_0.h"
#include "tensor/quant_q4_1.h"
#include "tensor/quant_q4_k.h"
#include "tensor/quant_q5_0.h"
#include "tensor/quant_q5_1.h"
#include "tensor/quant_q5_k.h"
#include "tensor/quant_q6_k.h"
#include "tensor/quant_q8_0.h"

namespace tandem::cpu {
namespace {

// A block of the file taken apart. Levels are unsigned (see PackedLayout::offset).
struct Parts {
  uint16_t scale = 0, minimum = 0;       // f16 bits
  std::array<uint8_t, 16> sub_scales{};  // by sub-block; the bits of an int8 in Q6_K
  std::array<uint8_t, 8> sub_minimums{};
  std::array<uint8_t, 256> levels{};
};

// The nibbles of a block of 32: inputs i and i + 16 share a byte.
void take_nibbles(const uint8_t* nibbles, Parts& parts) {
  for (size_t i = 0; i < 16; ++i) {
    parts.levels[i] = nibbles[i] & 0x0F;
    parts.levels[i + 16] = nibbles[i] >> 4;
  }
}

void take_fifths(const uint8_t* fifths, Parts& parts) {
  for (size_t i = 0; i < 32; ++i)
    parts.levels[i] |= static_cast<uint8_t>(((fifths[i / 8] >> (i % 8)) & 1) << 4);
}

void take_apart(const BlockQ4_0& block, Parts& parts) {
  parts.scale = block.scale;
  take_nibbles(block.nibbles, parts);
}
void take_apart(const BlockQ4_1& block, Parts& parts) {
  parts.scale = block.scale;
  parts.minimum = block.minimum;
  take_nibbles(block.nibbles, parts);
}
void take_apart(const BlockQ5_0& block, Parts& parts) {
  parts.scale = block.scale;
  take_nibbles(block.nibbles, parts);
  take_fifths(block.fifths, parts);
}
void take_apart(const BlockQ5_1& block, Parts& parts) {
  parts.scale = block.scale;
  parts.minimum = block.minimum;
  take_nibbles(block.nibbles, parts);
  take_fifths(block.fifths, parts);
}
void take_apart(const BlockQ8_0& block, Parts& parts) {
  parts.scale = block.scale;
  for (size_t i = 0; i < 32; ++i) parts.levels[i] = static_cast<uint8_t>(block.levels[i] + 128);
}

// What Q4_K and Q5_K have in common.
template <typename Block>
void take_k_block(const Block& block, Parts& parts) {
  parts.scale = block.scale;
  parts.minimum = block.minimum;
  const KScales k = unpack_k_scales(block.packed);
  for (size_t sub = 0; sub < 8; ++sub) {
    parts.sub_scales[sub] = k.scales[sub];
    parts.sub_minimums[sub] = k.minimums[sub];
  }
  for (size_t i = 0; i < 128; ++i) {
    const size_t at = i / 32 * 64 + i % 32;
    parts.levels[at] = block.nibbles[i] & 0x0F;
    parts.levels[at + 32] = block.nibbles[i] >> 4;
  }
}
void take_apart(const BlockQ4K& block, Parts& parts) { take_k_block(block, parts); }
void take_apart(const BlockQ5K& block, Parts& parts) {
  take_k_block(block, parts);
  for (size_t i = 0; i < 256; ++i)
    parts.levels[i] |= static_cast<uint8_t>(((block.fifths[i % 32] >> (i / 32)) & 1) << 4);
}
void take_apart(const BlockQ6K& block, Parts& parts) {
  parts.scale = block.scale;
  std::memcpy(parts.sub_scales.data(), block.scales, sizeof(block.scales));
  for (size_t n = 0; n < 256; ++n) {
    const size_t half = n / 128, j = n % 128 / 32, i = n % 32;
    const uint8_t byte = block.nibbles[half * 64 + j % 2 * 32 + i];
    const int nibble = j < 2 ? byte & 0x0F : byte >> 4;
    parts.levels[n] =
        static_cast<uint8_t>(nibble | (((block.pairs[half * 32 + i] >> (2 * j)) & 3) << 4));
  }
}

template <typename Block>
void take_apart_at(const std::byte* block, Parts& parts) {
  Block copy;
  std::memcpy(&copy, block, sizeof(copy));
  take_apart(copy, parts);
}

void take_apart(WeightKind kind, const std::byte* block, Parts& parts) {
  switch (kind) {
    case WeightKind::kQ4_0: return take_apart_at<BlockQ4_0>(block, parts);
    case WeightKind::kQ4_1: return take_apart_at<BlockQ4_1>(block, parts);
    case WeightKind::kQ5_0: return take_apart_at<BlockQ5_0>(block, parts);
    case WeightKind::kQ5_1: return take_apart_at<BlockQ5_1>(block, parts);
    case WeightKind::kQ8_0: return take_apart_at<BlockQ8_0>(block, parts);
    case WeightKind::kQ4K: return take_apart_at<BlockQ4K>(block, parts);
    case WeightKind::kQ5K: return take_apart_at<BlockQ5K>(block, parts);
    case WeightKind::kQ6K: return take_apart_at<BlockQ6K>(block, parts);
    case WeightKind::kF32:
    case WeightKind::kF16:
    case WeightKind::kBF16: break;
  }
}

// A row of a tile of so many.
struct Place {
  uint32_t row, tile;
};

// One row's share of consecutive vectors: 4 bytes each.
template <size_t kSize>
void put_vectors(const std::array<uint8_t, kSize>& bytes, Place place, uint8_t* out) {
  for (size_t v = 0; v < kSize / 4; ++v)
    std::memcpy(out + (v * place.tile + place.row) * 4, bytes.data() + v * 4, 4);
}

// One row's levels of 32 inputs into their places.
void put_levels(const uint8_t* levels, uint32_t bits, Place place, uint8_t* out) {
  if (bits == 8) {
    std::array<uint8_t, 32> bytes;
    std::memcpy(bytes.data(), levels, bytes.size());
    return put_vectors(bytes, place, out);
  }
  std::array<uint8_t, 16> nibbles;
  for (size_t i = 0; i < 16; ++i)
    nibbles[i] = static_cast<uint8_t>((levels[i] & 0x0F) | (levels[i + 16] << 4));
  put_vectors(nibbles, place, out);
  out += 16 * place.tile;
  if (bits == 5) {
    std::array<uint8_t, 4> fifths{};
    for (size_t i = 0; i < 32; ++i)
      fifths[i % 4] |= static_cast<uint8_t>((levels[i] >> 4) << (i / 4));
    put_vectors(fifths, place, out);
  } else if (bits == 6) {
    std::array<uint8_t, 8> pairs{};
    for (size_t i = 0; i < 32; ++i)
      pairs[i / 16 * 4 + i % 4] |= static_cast<uint8_t>((levels[i] >> 4) << (i / 4 % 4 * 2));
    put_vectors(pairs, place, out);
  }
}

// One row's super-block: `factors` and `levels` are the tile's for that super-block.
void put_parts(const Parts& parts, const PackedLayout& layout, Place place, uint8_t* factors,
               uint8_t* levels) {
  const auto [row, tile] = place;
  std::memcpy(factors + row * 2, &parts.scale, 2);
  factors += tile * 2;
  if (layout.has_minimum) {
    std::memcpy(factors + row * 2, &parts.minimum, 2);
    factors += tile * 2;
  }
  for (uint32_t block = 0; block < layout.super_block / kBlock; ++block) {
    for (uint32_t s = 0; s < layout.scales_per_32; ++s)
      factors[s * tile + row] = parts.sub_scales[block * layout.scales_per_32 + s];
    if (layout.has_sub_minimum())
      factors[layout.scales_per_32 * tile + row] = parts.sub_minimums[block];
    put_levels(parts.levels.data() + block * kBlock, layout.level_bits, place, levels);
    factors += layout.sub_factors_size() * tile;
    levels += layout.levels_size() * tile;
  }
}

struct RowRange {
  uint32_t first, count;
};

// Rows of plain elements as [inputs][tile].
template <typename Element>
void interleave(const TensorView& file, RowRange rows, uint32_t tile, uint8_t* out) {
  for (uint32_t row = 0; row < rows.count; ++row) {
    const std::byte* in = file.row(0, rows.first + row);
    uint8_t* lane = out + row * sizeof(Element);
    for (size_t i = 0; i < file.cols(); ++i)
      std::memcpy(lane + i * tile * sizeof(Element), in + i * sizeof(Element), sizeof(Element));
  }
}

// Rows [index * tile, ..) of the file as tile `index`.
void pack_tile(const TensorView& file, const PackedMatrix& matrix, uint32_t index) {
  const PackedLayout& layout = kPackedLayouts[static_cast<size_t>(matrix.kind)];
  const uint32_t tile = matrix.tile, first = index * tile;
  const uint32_t rows = std::min(tile, matrix.outputs - first);
  uint8_t* out = reinterpret_cast<uint8_t*>(matrix.memory->data()) +
                 index * layout.tile_size(matrix.inputs, tile);
  if (layout.element_size == 4) return interleave<uint32_t>(file, {first, rows}, tile, out);
  if (layout.element_size == 2) return interleave<uint16_t>(file, {first, rows}, tile, out);
  const size_t file_block = dtype_info(file.dtype).block_size;
  const size_t factors_size = size_t{layout.factors_size()} * tile;
  const size_t levels_size = size_t{layout.super_block} / kBlock * layout.levels_size() * tile;
  uint8_t* levels = out + layout.levels_offset(matrix.inputs, tile);
  Parts parts;
  for (size_t block = 0; block < matrix.inputs / layout.super_block; ++block)
    for (uint32_t row = 0; row < rows; ++row) {
      take_apart(matrix.kind, file.row(0, first + row) + block * file_block, parts);
      put_parts(parts, layout, {row, tile}, out + block * factors_size,
                levels + block * levels_size);
    }
}

}  // namespace

std::optional<WeightKind> weight_kind(DType dtype) {
  switch (dtype) {
    case DType::kF32: return WeightKind::kF32;
    case DType::kF16: return WeightKind::kF16;
    case DType::kBF16: return WeightKind::kBF16;
    case DType::kQ4_0: return WeightKind::kQ4_0;
    case DType::kQ4_1: return WeightKind::kQ4_1;
    case DType::kQ5_0: return WeightKind::kQ5_0;
    case DType::kQ5_1: return WeightKind::kQ5_1;
    case DType::kQ8_0: return WeightKind::kQ8_0;
    case DType::kQ4K: return WeightKind::kQ4K;
    case DType::kQ5K: return WeightKind::kQ5K;
    case DType::kQ6K: return WeightKind::kQ6K;
    case DType::kI8:
    case DType::kI32: break;
  }
  return std::nullopt;
}

PackedMatrix pack_matrix(const TensorView& file, uint32_t tile, ThreadPool& pool) {
  const std::optional<WeightKind> kind = weight_kind(file.dtype);
  if (!kind)
    throw Error(ErrorCode::kUnsupported,
                fmt::format("the CPU kernels take no {} matrix", dtype_name(file.dtype)));
  const DTypeInfo& info = dtype_info(file.dtype);
  if (file.cols() % info.block_count != 0)
    throw Error(ErrorCode::kInvalidFile,
                fmt::format("rows of {} {} weights are no whole blocks", file.cols(), info.name));
  PackedMatrix matrix{*kind, file.rows(), file.cols(), tile, nullptr};
  const PackedLayout& layout = kPackedLayouts[static_cast<size_t>(*kind)];
  const size_t tile_size =
      tile == 1 ? dtype_size(file.dtype, file.cols()) : layout.tile_size(file.cols(), tile);
  matrix.memory = std::make_unique<SharedMemory>(tile_size * matrix.tile_count(), "weights");
  pool.run([&](uint32_t thread) noexcept {
    for (uint32_t index = thread; index < matrix.tile_count(); index += pool.size()) {
      if (tile == 1)
        std::memcpy(matrix.memory->data() + index * tile_size, file.row(0, index), tile_size);
      else
        pack_tile(file, matrix, index);
    }
  });
  return matrix;
}

}  // namespace tandem::cpu
