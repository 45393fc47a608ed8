// SPDX-License-Identifier: Apache-2.0
#include "gguf/random_blocks.h"

#include <array>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "tensor/bf16.h"
#include "tensor/half.h"
#include "tensor/quant_q4_0.h"
#include "tensor/quant_q4_1.h"
#include "tensor/quant_q4_k.h"
#include "tensor/quant_q5_0.h"
#include "tensor/quant_q5_1.h"
#include "tensor/quant_q5_k.h"
#include "tensor/quant_q6_k.h"
#include "tensor/quant_q8_0.h"

namespace tandem {
namespace {

// SplitMix64 (Steele, Lea, Flood 2014): fast, and any seed is a good one.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = state_ += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }

 private:
  uint64_t state_;
};

void fill_bytes(uint64_t seed, std::span<std::byte> out) {
  Random random(seed);
  while (!out.empty()) {
    const uint64_t value = random.next();
    const size_t size = std::min(out.size(), sizeof(value));
    std::memcpy(out.data(), &value, size);
    out = out.subspan(size);
  }
}

// Root mean square of the integers [0, count) less `offset`, all equally likely.
double level_rms(double count, double offset) {
  const double mean = (count - 1) / 2 - offset;
  return std::sqrt((count * count - 1) / 12 + mean * mean);
}

// Block scales: sixteen f16 from 3/4 to 5/4 of the scale that gives weights the wanted root mean
// square when levels have `rms`; the upper half of the table is negative if `both_signs`.
class ScaleTable {
 public:
  ScaleTable(double deviation, double rms, bool both_signs) {
    for (size_t i = 0; i < scales_.size(); ++i) {
      const double spread = 0.75 + 0.5 * static_cast<double>(i % 16) / 15;
      const double sign = both_signs && i >= 16 ? -1 : 1;
      scales_[i] = f32_to_f16(static_cast<float>(sign * spread * deviation / rms));
    }
  }
  uint16_t pick(uint16_t random) const { return scales_[random % 32]; }

 private:
  std::array<uint16_t, 32> scales_;
};

template <typename Block, typename Finish>
void finish_blocks(std::span<std::byte> out, Finish finish) {
  Block* blocks = reinterpret_cast<Block*>(out.data());
  for (size_t i = 0; i < out.size() / sizeof(Block); ++i) finish(blocks[i]);
}

// Scale times a scalar, as f16, for the minimums that centre the levels.
uint16_t scaled(uint16_t scale, float factor) { return f32_to_f16(f16_to_f32(scale) * factor); }

// Blocks of one scale and centred levels.
template <typename Block>
void finish_symmetric(float deviation, double rms, std::span<std::byte> out) {
  const ScaleTable table(deviation, rms, true);
  finish_blocks<Block>(out, [&](Block& b) { b.scale = table.pick(b.scale); });
}

// Blocks of a scale and a minimum that is added.
template <typename Block>
void finish_with_minimum(float deviation, double levels, std::span<std::byte> out) {
  const double centre = (levels - 1) / 2;
  const ScaleTable table(deviation, level_rms(levels, centre), false);
  finish_blocks<Block>(out, [&](Block& b) {
    b.scale = table.pick(b.scale);
    b.minimum = scaled(b.scale, static_cast<float>(-centre));
  });
}

// Super-blocks with 6-bit scales 32 to 63; each minimum equals its scale, and the minimums' own
// scale makes up for the levels' centre.
template <typename Block>
void finish_super_blocks(float deviation, double levels, std::span<std::byte> out) {
  const double centre = (levels - 1) / 2;
  const ScaleTable table(deviation, level_rms(levels, centre) * level_rms(32, -32), false);
  finish_blocks<Block>(out, [&](Block& b) {
    b.scale = table.pick(b.scale);
    b.minimum = scaled(b.scale, static_cast<float>(centre));
    KScales k = unpack_k_scales(b.packed);
    for (size_t i = 0; i < 8; ++i) k.minimums[i] = k.scales[i] = k.scales[i] | 32;
    pack_k_scales(k, b.packed);
  });
}

// Sub-block scales of magnitude 32 to 63 and either sign.
void finish_q6_k(float deviation, std::span<std::byte> out) {
  const ScaleTable table(deviation, level_rms(64, 32) * level_rms(32, -32), false);
  finish_blocks<BlockQ6K>(out, [&](BlockQ6K& b) {
    b.scale = table.pick(b.scale);
    for (int8_t& scale : b.scales) {
      const int magnitude = 32 | (scale & 31);
      scale = static_cast<int8_t>(scale < 0 ? -magnitude : magnitude);
    }
  });
}

// Turns random integers into values in place.
template <typename Integer, typename Stored, typename Convert>
void finish_plain(float deviation, std::span<std::byte> out, Convert convert) {
  static_assert(sizeof(Integer) == sizeof(Stored));
  const double count = std::pow(2.0, 8 * sizeof(Integer));
  const float scale = static_cast<float>(deviation / level_rms(count, count / 2));
  for (size_t i = 0; i + sizeof(Stored) <= out.size(); i += sizeof(Stored)) {
    Integer integer;
    std::memcpy(&integer, out.data() + i, sizeof(integer));
    const Stored value = convert(scale * static_cast<float>(integer));
    std::memcpy(out.data() + i, &value, sizeof(value));
  }
}

}  // namespace

void fill_random_blocks(DType dtype, float deviation, uint64_t seed, std::span<std::byte> out) {
  TANDEM_CHECK(out.size() % dtype_info(dtype).block_size == 0, "%zu bytes are no whole blocks",
               out.size());
  fill_bytes(seed, out);
  switch (dtype) {
    case DType::kF32:
      return finish_plain<int32_t, float>(deviation, out, [](float value) { return value; });
    case DType::kF16: return finish_plain<int16_t, uint16_t>(deviation, out, f32_to_f16);
    case DType::kBF16: return finish_plain<int16_t, uint16_t>(deviation, out, f32_to_bf16);
    case DType::kQ4_0: return finish_symmetric<BlockQ4_0>(deviation, level_rms(16, 8), out);
    case DType::kQ5_0: return finish_symmetric<BlockQ5_0>(deviation, level_rms(32, 16), out);
    case DType::kQ8_0: return finish_symmetric<BlockQ8_0>(deviation, level_rms(256, 128), out);
    case DType::kQ4_1: return finish_with_minimum<BlockQ4_1>(deviation, 16, out);
    case DType::kQ5_1: return finish_with_minimum<BlockQ5_1>(deviation, 32, out);
    case DType::kQ4K: return finish_super_blocks<BlockQ4K>(deviation, 16, out);
    case DType::kQ5K: return finish_super_blocks<BlockQ5K>(deviation, 32, out);
    case DType::kQ6K: return finish_q6_k(deviation, out);
    case DType::kI8:
    case DType::kI32: break;
  }
  TANDEM_CHECK(false, "%s is no type of weights", dtype_info(dtype).name.data());
}

void fill_random_floats(float lowest, float highest, uint64_t seed, std::span<float> out) {
  Random random(seed);
  for (float& value : out) {
    const float unit = static_cast<float>(random.next() >> 40) * 0x1p-24f;  // [0, 1)
    value = lowest + (highest - lowest) * unit;
  }
}

}  // namespace tandem
