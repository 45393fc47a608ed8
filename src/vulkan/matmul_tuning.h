// How products of many rows are cut into tiles, by class of device.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

#include "vulkan/device_info.h"

namespace tandem::vulkan {

// What multiplies: f32 arithmetic, packed int8 dot products, or matrix units.
enum class MatmulUnit : uint8_t { kPlain, kDot, kCooperative };

struct MatmulTile {
  MatmulUnit unit;
  uint32_t m, n, k;         // of a workgroup
  uint32_t part_m, part_n;  // of a subgroup (kCooperative) or an invocation
  float speed;              // multiply-adds per second, relative to the unit's fastest tile

  constexpr uint32_t parts() const { return m / part_m * (n / part_n); }
  uint32_t workgroup(uint32_t subgroup) const {
    return unit == MatmulUnit::kCooperative ? parts() * subgroup : parts();
  }
  uint32_t shared_memory_size() const;
};

struct MatmulShape {
  uint32_t rows, outputs, k;
};

struct MatmulChoice {
  MatmulTile tile;
  uint32_t splits;  // of k
};

// The fewest rows for which a product in tiles beats matvec.comp.
inline constexpr uint32_t kMatmulMinRows = 8;

// The fastest unit the device has; float weights cannot take kDot.
MatmulUnit best_unit(const VulkanDeviceInfo& info, bool float_weights);

// All tiles of a unit, largest first.
std::span<const MatmulTile> matmul_tiles(MatmulUnit unit);

// The tile and the splits with the least estimated time on `compute_units` units.
MatmulChoice choose_matmul(const VulkanDeviceInfo& info, uint32_t compute_units, MatmulUnit unit,
                           const MatmulShape& shape);

}  // namespace tandem::vulkan
