// SPDX-License-Identifier: Apache-2.0
#include "vulkan/matmul_tuning.h"

#include <algorithm>
#include <array>
#include <limits>

#include "base/check.h"

namespace tandem::vulkan {
namespace {

// Speeds are those of 512x5376x21504 on an H200 where one could be measured, else guesses in
// proportion to the loads from shared memory per multiply-add.
constexpr std::array kCooperativeTiles = {
    MatmulTile{MatmulUnit::kCooperative, 256, 128, 32, 64, 64, 1.0f},
    MatmulTile{MatmulUnit::kCooperative, 128, 128, 32, 64, 64, 0.65f},
    MatmulTile{MatmulUnit::kCooperative, 64, 128, 32, 32, 64, 0.45f},
    MatmulTile{MatmulUnit::kCooperative, 32, 128, 32, 32, 32, 0.3f},
};
// matmul_coop.comp stores results through its tile of weights: a 16 x 16 matrix of f32 in 16-byte
// pieces for each subgroup.
constexpr bool results_fit(const MatmulTile& tile) {
  return tile.parts() * (16 * 16 / 4) <= tile.n * (tile.k / 8 + 1);
}
static_assert(std::all_of(kCooperativeTiles.begin(), kCooperativeTiles.end(), results_fit));
constexpr std::array kDotTiles = {
    MatmulTile{MatmulUnit::kDot, 64, 64, 32, 4, 4, 1.0f},
    MatmulTile{MatmulUnit::kDot, 32, 64, 32, 4, 4, 0.8f},
    MatmulTile{MatmulUnit::kDot, 16, 64, 32, 2, 4, 0.6f},
};
constexpr std::array kPlainTiles = {
    MatmulTile{MatmulUnit::kPlain, 64, 64, 32, 4, 4, 1.0f},
    MatmulTile{MatmulUnit::kPlain, 32, 64, 32, 4, 4, 0.8f},
    MatmulTile{MatmulUnit::kPlain, 16, 64, 32, 2, 4, 0.6f},
};

constexpr uint32_t kMostSplits = 8;
constexpr uint32_t kLeastSplitK = 512;
// Multiply-adds of the whole device in the time of one byte of memory traffic.
constexpr double kProductsPerByte = 25;

uint32_t divide_up(uint32_t a, uint32_t b) { return (a + b - 1) / b; }

double estimated_time(const MatmulTile& tile, uint32_t splits, const MatmulShape& shape,
                      uint32_t units) {
  const uint32_t workgroups =
      divide_up(shape.rows, tile.m) * divide_up(shape.outputs, tile.n) * splits;
  const double products = 1.0 * tile.m * tile.n * divide_up(shape.k, splits);
  const double time = divide_up(workgroups, units) * products / static_cast<double>(tile.speed);
  if (splits == 1) return time;
  const double bytes = 2.0 * sizeof(float) * splits * shape.rows * shape.outputs;
  return time + bytes * kProductsPerByte / units;
}

}  // namespace

// x and w in 16-byte pieces and one of padding (kCooperative), else in words and one of padding.
uint32_t MatmulTile::shared_memory_size() const {
  switch (unit) {
    case MatmulUnit::kCooperative: return (m + n) * (k / 8 + 1) * 16;
    case MatmulUnit::kDot: return (m + n) * (k / 4 + 1) * 4 + m * 8 + n * 16;
    case MatmulUnit::kPlain: return (m + n) * (k / 2 + 1) * 4;
  }
  return 0;
}

MatmulUnit best_unit(const VulkanDeviceInfo& info, bool float_weights) {
  const bool matrices = std::any_of(info.matrices.begin(), info.matrices.end(), [](const auto& s) {
    return s.m == 16 && s.n == 16 && s.k == 16 && s.input == "f16" && s.accumulator == "f32";
  });
  if (info.cooperative_matrix && matrices) return MatmulUnit::kCooperative;
  return info.integer_dot && !float_weights ? MatmulUnit::kDot : MatmulUnit::kPlain;
}

std::span<const MatmulTile> matmul_tiles(MatmulUnit unit) {
  switch (unit) {
    case MatmulUnit::kCooperative: return kCooperativeTiles;
    case MatmulUnit::kDot: return kDotTiles;
    case MatmulUnit::kPlain: return kPlainTiles;
  }
  return {};
}

MatmulChoice choose_matmul(const VulkanDeviceInfo& info, uint32_t compute_units, MatmulUnit unit,
                           const MatmulShape& shape) {
  MatmulChoice best{matmul_tiles(unit).back(), 1};
  double least = std::numeric_limits<double>::max();
  for (const MatmulTile& tile : matmul_tiles(unit)) {
    if (tile.shared_memory_size() > info.shared_memory_size ||
        tile.workgroup(std::max(1u, info.subgroup)) > info.max_workgroup)
      continue;
    for (uint32_t splits = 1; splits <= kMostSplits; ++splits) {
      if (splits > 1 && shape.k / splits < kLeastSplitK) break;
      const double time = estimated_time(tile, splits, shape, compute_units);
      if (time < least) {
        least = time;
        best = {tile, splits};
      }
    }
  }
  return best;
}

}  // namespace tandem::vulkan
