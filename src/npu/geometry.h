// What one generation of AMD's XDNA array offers: tiles, memory, DMA, locks, streams, clocks. One
// row per generation in geometry.cc, each number with its public source; no other file states a
// limit of the hardware.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace tandem::npu {

// The compiler's device names: npu1 is Phoenix and Hawk Point, npu2 Strix, Strix Halo, Krackan.
enum class Generation : uint8_t { kNpu1, kNpu2 };

enum class TileKind : uint8_t { kShim, kMem, kCore };

struct TileGeometry {
  uint32_t memory;              // bytes of data memory
  uint32_t banks;               // as the buffer allocator counts them, equal sizes
  uint32_t program_memory;      // bytes
  uint32_t locks;               // semaphores of kMaxLockValue
  uint32_t descriptors;         // buffer descriptors
  uint32_t channels;            // per direction
  uint32_t neighbour_channels;  // first channels that also reach the east and west mem tiles
  uint32_t dimensions;          // of an address pattern, without the iteration
  uint32_t max_length;          // 32-bit words of one descriptor
  uint32_t max_wrap;            // largest size of dimensions 0 and 1 (and 2 of a mem tile)
  uint32_t max_stride;          // 32-bit words
  uint32_t masters_south, masters_north, masters_side;  // stream ports out; side: east and west
  uint32_t slaves_south, slaves_north, slaves_side;     // stream ports in
};

// Multiply-accumulates of one core in a cycle, by operand types.
struct MacRates {
  uint32_t int8_int4, int8_int8, int16_int8, int16_int16, bf16_bf16;
};

// The native int8 x int4 tile of aie::mmul: C[m, n] += A[m, k] * B[k, n].
struct MmulShape {
  uint32_t m, k, n;
};

// Bytes per second that `channels` shim channels draw from DRAM together, each able to take
// `channel_rate`: (demand^-power + dram_rate^-power)^(-1 / power).
struct BandwidthLaw {
  double stream_efficiency;  // what one channel reaches of bytes_per_cycle * clock
  double dram_rate;          // bytes per second, for the DRAM of `dram_peak`
  double dram_peak;
  double power;
};

struct ClockPreset {
  std::string_view name;
  double array_hz;
};

struct Geometry {
  Generation generation;
  std::string_view name;     // "npu1", as the dialect writes the whole device
  std::string_view silicon;  // product families
  uint32_t columns;          // a design may use
  uint32_t rows;             // shim row 0, mem tiles row 1, cores above
  uint32_t physical_columns;
  uint32_t first_core_row;
  TileGeometry shim, mem, core;
  uint32_t default_stack;       // bytes at the bottom of a core's memory
  uint32_t queue_depth;         // tasks a DMA channel holds
  uint32_t max_repeat;          // times one queued task runs
  uint32_t max_iteration;       // wrap of the iteration dimension
  uint32_t max_host_buffers;    // arguments of a design packaged as a kernel
  double shim_bytes_per_cycle;  // one shim channel, one direction
  double core_bytes_per_cycle;  // any other stream port
  MacRates macs;
  MmulShape int8_int4_mmul;
  BandwidthLaw bandwidth;
  std::span<const ClockPreset> clocks;  // the first is the default under Linux
  uint32_t transaction_generation;      // device field of a transaction header

  uint32_t core_rows() const { return rows - first_core_row; }
  uint32_t cores() const { return columns * core_rows(); }
  const TileGeometry& tile(TileKind kind) const;
  TileKind kind_of_row(uint32_t row) const;
};

inline constexpr uint32_t kMaxLockValue = 63;
inline constexpr uint32_t kWordSize = 4;  // bytes of a stream word and of an address step

const Geometry& geometry_of(Generation generation);
std::span<const Geometry> geometries();

// By name: "npu1", "npu2" or one of their column subsets "npu1_1col" .. ; nullptr for other names.
// All columns have such a name too: older texts of mlir-aie say "npu1_4col".
// `columns` receives how many columns the name stands for.
const Geometry* find_geometry(std::string_view name, uint32_t* columns = nullptr);

// Bytes per second that `channels` shim MM2S channels reach together at an array clock, from DRAM
// whose peak is `dram_peak` (0: the desktop the law was fitted on).
double read_bandwidth(const Geometry& geometry, uint32_t channels, double array_hz,
                      double dram_peak = 0);

}  // namespace tandem::npu
