// The rows of geometry.h. Sources, by the letter at each number:
//   A  mlir-aie, AIETargetModel.h/.cpp (March 2026)
//   B  mlir-aie, AIEDmaToNpu.cpp: the widths of the buffer descriptors' fields
//   C  AMD AM020 (AIE-ML architecture manual) and AM025 (its registers)
//   D  amdxdna driver, npu1_regs.c, npu4_regs.c, npu4_family.h: clocks, columns, contexts
//   E  aie_api, detail/aie2 and detail/aie2p mmul headers: shapes and rates
//   F  "Striking the Balance", arXiv 2512.13282, table 1: rates per core
//   G  ignite-xdna, measured read bandwidth of 1 to 8 channels on a Ryzen 7 8700G at 1.797 GHz
//   H  mlir-air pull request 1786 and xdna-engine: XDNA2 channels above 4 B per cycle, 57 GB/s
//   I  mlir-aie, AIETargetNPU.cpp: the transaction header
// SPDX-License-Identifier: Apache-2.0
#include "npu/geometry.h"

#include <array>
#include <cmath>
#include <string>

#include "base/check.h"

namespace tandem::npu {
namespace {

// Tiles are the same in both generations. [A] memory, banks, locks, descriptors, channels, ports;
// [B] lengths, wraps, strides (stored minus one, so a field of b bits holds up to 2^b); [C] program
// memory.
constexpr TileGeometry kShimTile = {
    .memory = 0,
    .banks = 0,
    .program_memory = 0,
    .locks = 16,
    .descriptors = 16,
    .channels = 2,
    .neighbour_channels = 0,
    .dimensions = 3,
    .max_length = 0xFFFFFFFF,
    .max_wrap = 1023,
    .max_stride = 1 << 20,
    .masters_south = 6,
    .masters_north = 6,
    .masters_side = 4,
    .slaves_south = 8,
    .slaves_north = 4,
    .slaves_side = 4,
};

constexpr TileGeometry kMemTile = {
    .memory = 512 * 1024,
    .banks = 8,
    .program_memory = 0,
    .locks = 64,
    .descriptors = 48,
    .channels = 6,
    .neighbour_channels = 4,
    .dimensions = 4,
    .max_length = (1 << 17) - 1,
    .max_wrap = 1023,
    .max_stride = 1 << 17,
    .masters_south = 4,
    .masters_north = 6,
    .masters_side = 0,
    .slaves_south = 6,
    .slaves_north = 4,
    .slaves_side = 0,
};

constexpr TileGeometry kCoreTile = {
    .memory = 64 * 1024,
    .banks = 4,
    .program_memory = 16 * 1024,
    .locks = 16,
    .descriptors = 16,
    .channels = 2,
    .neighbour_channels = 0,
    .dimensions = 3,
    .max_length = (1 << 14) - 1,
    .max_wrap = 255,
    .max_stride = 1 << 13,
    .masters_south = 4,
    .masters_north = 6,
    .masters_side = 4,
    .slaves_south = 6,
    .slaves_north = 4,
    .slaves_side = 4,
};

// [D] the driver's table of levels; 1.797 GHz was measured on a desktop under Windows [G].
constexpr std::array kNpu1Clocks = {
    ClockPreset{"linux default", 1.028e9}, ClockPreset{"windows desktop", 1.797e9},
    ClockPreset{"power saver", 0.8e9}, ClockPreset{"table maximum", 1.6e9}};
constexpr std::array kNpu2Clocks = {ClockPreset{"turbo", 1.8e9}, ClockPreset{"balanced", 1.267e9},
                                    ClockPreset{"power saver", 0.792e9}};

constexpr Geometry kNpu1 = {
    .generation = Generation::kNpu1,
    .name = "npu1",
    .silicon = "Phoenix, Hawk Point (XDNA, AIE2)",
    .columns = 4,           // [A]
    .rows = 6,              // [A]
    .physical_columns = 5,  // [D]; column 0 has no shim DMA
    .first_core_row = 2,    // [A]
    .shim = kShimTile,
    .mem = kMemTile,
    .core = kCoreTile,
    .default_stack = 0x400,     // [A]
    .queue_depth = 4,           // [C]
    .max_repeat = 256,          // [B]
    .max_iteration = 64,        // [B]
    .max_host_buffers = 5,      // mlir-aie, aiecc: arguments of the packaged kernel
    .shim_bytes_per_cycle = 4,  // [C], confirmed by [G]
    .core_bytes_per_cycle = 4,  // [C]
    .macs = {.int8_int4 = 512,
             .int8_int8 = 256,
             .int16_int8 = 128,
             .int16_int16 = 64,
             .bf16_bf16 = 128},                   // [E] [F]
    .int8_int4_mmul = {.m = 4, .k = 16, .n = 8},  // [E]
    .bandwidth = {.stream_efficiency = 0.989,     // fitted to the seven points of [G]
                  .dram_rate = 78e9,
                  .dram_peak = 96e9,
                  .power = 2.3},
    .clocks = kNpu1Clocks,
    .transaction_generation = 3,  // [I]
};

constexpr Geometry kNpu2 = {
    .generation = Generation::kNpu2,
    .name = "npu2",
    .silicon = "Strix, Strix Halo, Krackan (XDNA2, AIE2P)",
    .columns = 8,           // [A]
    .rows = 6,              // [A]
    .physical_columns = 8,  // [D]
    .first_core_row = 2,    // [A]
    .shim = kShimTile,
    .mem = kMemTile,
    .core = kCoreTile,
    .default_stack = 0x400,     // [A]
    .queue_depth = 4,           // [C]
    .max_repeat = 256,          // [B]
    .max_iteration = 64,        // [B]
    .max_host_buffers = 5,      // as npu1
    .shim_bytes_per_cycle = 8,  // [H]: measured above 4 and not documented
    .core_bytes_per_cycle = 4,  // not documented otherwise
    // [E] [F]; int8 x int4 measured at the rate of int8 x int8 (bitnet-xdna2-strix-halo)
    .macs = {.int8_int4 = 512,
             .int8_int8 = 512,
             .int16_int8 = 256,
             .int16_int16 = 128,
             .bf16_bf16 = 256},
    .int8_int4_mmul = {.m = 4, .k = 16, .n = 16},  // [E]
    .bandwidth = {.stream_efficiency = 0.989,
                  .dram_rate = 60e9,  // [H]: 57 to 63 GB/s whatever the number of channels
                  .dram_peak = 120e9,
                  .power = 8},  // [H]: close to a plain cap
    .clocks = kNpu2Clocks,
    .transaction_generation = 4,  // [I]
};

constexpr std::array kGeometries = {kNpu1, kNpu2};

}  // namespace

const TileGeometry& Geometry::tile(TileKind kind) const {
  return kind == TileKind::kShim ? shim : kind == TileKind::kMem ? mem : core;
}

TileKind Geometry::kind_of_row(uint32_t row) const {
  TANDEM_CHECK(row < rows, "row %u of %u", row, rows);
  return row == 0 ? TileKind::kShim : row < first_core_row ? TileKind::kMem : TileKind::kCore;
}

std::span<const Geometry> geometries() { return kGeometries; }

const Geometry& geometry_of(Generation generation) {
  return kGeometries[static_cast<size_t>(generation)];
}

const Geometry* find_geometry(std::string_view name, uint32_t* columns) {
  for (const Geometry& row : kGeometries)
    for (uint32_t count = 1; count <= row.columns; ++count) {
      const std::string subset = std::string(row.name) + "_" + std::to_string(count) + "col";
      if (subset != name && (count < row.columns || row.name != name)) continue;
      if (columns != nullptr) *columns = count;
      return &row;
    }
  return nullptr;
}

double read_bandwidth(const Geometry& geometry, uint32_t channels, double array_hz,
                      double dram_peak) {
  const BandwidthLaw& law = geometry.bandwidth;
  const double demand = channels * geometry.shim_bytes_per_cycle * array_hz * law.stream_efficiency;
  if (demand == 0) return 0;
  const double dram = law.dram_rate * (dram_peak > 0 ? dram_peak / law.dram_peak : 1);
  return std::pow(std::pow(demand, -law.power) + std::pow(dram, -law.power), -1 / law.power);
}

}  // namespace tandem::npu
