// Argument checks around the core kernels. A core would write where it is told; the emulator stops.
// SPDX-License-Identifier: Apache-2.0
#include "npu/kernels/builtin_kernels.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "base/error.h"
#include "npu/int4_layout.h"
#include "npu/kernels/core_kernels.h"
#include "npu/kernels/kernel_costs.h"

namespace tandem::npu {
namespace {

using Arguments = std::span<const KernelValue>;

void require(std::string_view symbol, bool holds, std::string_view what) {
  if (!holds) throw Error(ErrorCode::kInvalidFile, fmt::format("call of @{}: {}", symbol, what));
}

void require_count(std::string_view symbol, Arguments arguments, size_t count) {
  require(symbol, arguments.size() == count,
          fmt::format("{} arguments, the kernel takes {}", arguments.size(), count));
}

int32_t number(const KernelValue& value) { return static_cast<int32_t>(value.integer); }
template <typename T>
T* buffer(const KernelValue& value) {
  return static_cast<T*>(value.buffer);
}

// A size in bytes that is not negative, a multiple of `unit` and within both buffers.
void require_size(std::string_view symbol, int64_t size, int64_t unit, uint64_t limit) {
  require(symbol, size >= 0 && size % unit == 0 && static_cast<uint64_t>(size) <= limit,
          fmt::format("a size of {} bytes is not a multiple of {} within the buffers' {}", size,
                      unit, limit));
}

// ---- W4A8

struct TileKernel {
  std::string_view symbol;
  W4A8TileKernel* function;
  uint64_t (*cycles)(W4A8Shape);
  uint32_t columns;           // n of the multiply
  uint32_t scale_size;        // bytes of a scale
  uint32_t accumulator_size;  // bytes of 16 lanes
};
constexpr std::array kTileKernels = {
    TileKernel{"w4a8_integer_n8", &w4a8_integer_n8, &w4a8_integer_cycles, 8, 1, 128},
    TileKernel{"w4a8_integer_n16", &w4a8_integer_n16, &w4a8_integer_cycles, 16, 1, 128},
    TileKernel{"w4a8_exact_n8", &w4a8_exact_n8, &w4a8_exact_cycles, 8, 4, 64},
    TileKernel{"w4a8_exact_n16", &w4a8_exact_n16, &w4a8_exact_cycles, 16, 4, 64}};

void check_tile_call(const TileKernel& kernel, Arguments arguments) {
  require_count(kernel.symbol, arguments, 5);
  const W4A8Shape shape = unpack_shape(number(arguments[4]));
  require(
      kernel.symbol, shape.accumulators <= kernel.columns / 4,
      fmt::format("{} accumulators of a tile that has {}", shape.accumulators, kernel.columns / 4));
  // The last scales may be loaded 16 at a time, past the end of an odd number of columns.
  const uint64_t width = uint64_t{shape.column_tiles} * kernel.columns;
  const uint64_t scales = (shape.groups * width * kernel.scale_size + 15) / 16 * 16;
  require(kernel.symbol, shape.groups * width * 16 + scales <= arguments[0].size,
          fmt::format("a tile of {} bytes does not hold {} groups of {} outputs", arguments[0].size,
                      shape.groups, width));
  const int64_t step = arguments[3].integer;
  const uint64_t unit = activation_unit_size(shape, kernel.scale_size);
  require(kernel.symbol, step >= 0 && (static_cast<uint64_t>(step) + 1) * unit <= arguments[1].size,
          fmt::format("activations of {} bytes do not hold unit {} of {} bytes", arguments[1].size,
                      step, unit));
  const uint64_t sums = uint64_t{shape.row_groups} * shape.column_tiles * shape.accumulators *
                        kernel.accumulator_size;
  require(kernel.symbol, sums <= arguments[2].size,
          fmt::format("sums of {} bytes do not hold {}", arguments[2].size, sums));
}

void add_tile_kernels(KernelTable& table) {
  for (const TileKernel& kernel : kTileKernels)
    table.add(std::string(kernel.symbol),
              {.run =
                   [&kernel](Arguments arguments) {
                     check_tile_call(kernel, arguments);
                     kernel.function(buffer<int8_t>(arguments[0]), buffer<int8_t>(arguments[1]),
                                     buffer<int32_t>(arguments[2]), number(arguments[3]),
                                     number(arguments[4]));
                   },
               .cycles =
                   [&kernel](Arguments arguments) {
                     require_count(kernel.symbol, arguments, 5);
                     return kernel.cycles(unpack_shape(number(arguments[4])));
                   },
               .operations =
                   [&kernel](Arguments arguments) {
                     require_count(kernel.symbol, arguments, 5);
                     const W4A8Shape shape = unpack_shape(number(arguments[4]));
                     const uint64_t rows = 4 * uint64_t{shape.row_groups};
                     const uint64_t columns = uint64_t{shape.column_tiles} * kernel.columns;
                     return 2 * rows * columns * shape.groups * kGroupSize;
                   }});
}

void add_load_activations(KernelTable& table) {
  static constexpr std::string_view kSymbol = "w4a8_load_activations";
  table.add(std::string(kSymbol),
            {.run =
                 [](Arguments arguments) {
                   require_count(kSymbol, arguments, 4);
                   const int64_t slot = arguments[2].integer, size = arguments[3].integer;
                   require_size(kSymbol, size, 32, arguments[0].size);
                   require(kSymbol, slot >= 0, "a slot below 0");
                   require_size(kSymbol, (slot + 1) * size, 32, arguments[1].size);
                   w4a8_load_activations(buffer<int8_t>(arguments[0]), buffer<int8_t>(arguments[1]),
                                         number(arguments[2]), number(arguments[3]));
                 },
             .cycles =
                 [](Arguments arguments) {
                   require_count(kSymbol, arguments, 4);
                   return copy_cycles(static_cast<uint64_t>(arguments[3].integer));
                 }});
}

void add_clear(KernelTable& table) {
  static constexpr std::string_view kSymbol = "w4a8_clear";
  table.add(std::string(kSymbol),
            {.run =
                 [](Arguments arguments) {
                   require_count(kSymbol, arguments, 2);
                   require_size(kSymbol, arguments[1].integer, 64, arguments[0].size);
                   w4a8_clear(buffer<int32_t>(arguments[0]), number(arguments[1]));
                 },
             .cycles =
                 [](Arguments arguments) {
                   require_count(kSymbol, arguments, 2);
                   return copy_cycles(static_cast<uint64_t>(arguments[1].integer));
                 }});
}

struct FlushKernel {
  std::string_view symbol;
  void (*function)(const int32_t*, int32_t*, int32_t);
  uint64_t (*cycles)(uint64_t);
  int64_t unit;
};
constexpr std::array kFlushKernels = {
    FlushKernel{"w4a8_flush_integer", &w4a8_flush_integer, &w4a8_flush_cycles, 128},
    FlushKernel{"w4a8_flush_exact", &w4a8_flush_exact, &copy_cycles, 64}};

void add_flush_kernels(KernelTable& table) {
  for (const FlushKernel& kernel : kFlushKernels)
    table.add(std::string(kernel.symbol),
              {.run =
                   [&kernel](Arguments arguments) {
                     require_count(kernel.symbol, arguments, 3);
                     require_size(kernel.symbol, arguments[2].integer, kernel.unit,
                                  std::min(arguments[0].size, arguments[1].size));
                     kernel.function(buffer<int32_t>(arguments[0]), buffer<int32_t>(arguments[1]),
                                     number(arguments[2]));
                   },
               .cycles =
                   [&kernel](Arguments arguments) {
                     require_count(kernel.symbol, arguments, 3);
                     return kernel.cycles(static_cast<uint64_t>(arguments[2].integer));
                   }});
}

// ---- GEMM

// block_overhead from the calls measured in "Striking the Balance", table 1: m * k * n over the
// MACs per cycle gives a call's cycles; what the multiplies alone leave is shared among its 2 x 2
// blocks. XDNA: 64x232x64 at 233.0, 64x216x64 at 217.6, 48x280x48 at 192.0, bf16 64x104x64 at
// 112.6; XDNA2: the same int8 tiles at 450.6, 419.8, 384.0, bf16 48x152x48 at 158.1 with 256 per
// cycle.
struct GemmRow {
  std::string_view symbol;
  GemmKernel* function;
  uint32_t r, s, t;
  uint32_t in_size, out_size;
  double issue_cycles, block_overhead;
};
constexpr std::array kGemmKernels = {
    GemmRow{"gemm_int8_int8_4x8x8", &gemm_int8_int8_4x8x8, 4, 8, 8, 1, 1, 1, 11.4},
    GemmRow{"gemm_int8_int16_4x8x8", &gemm_int8_int16_4x8x8, 4, 8, 8, 1, 2, 1, 19.1},
    GemmRow{"gemm_int8_int32_4x8x8", &gemm_int8_int32_4x8x8, 4, 8, 8, 1, 4, 1, 46.7},
    GemmRow{"gemm_bf16_bf16_4x8x4", &gemm_bf16_bf16_4x8x4, 4, 8, 4, 2, 2, 1, 7.1},
    GemmRow{"gemm_int8_int8_8x8x8", &gemm_int8_int8_8x8x8, 8, 8, 8, 1, 1, 1, 15.8},
    GemmRow{"gemm_int8_int16_8x8x8", &gemm_int8_int16_8x8x8, 8, 8, 8, 1, 2, 1, 23.7},
    GemmRow{"gemm_int8_int32_8x8x8", &gemm_int8_int32_8x8x8, 8, 8, 8, 1, 4, 1, 46.7},
    GemmRow{"gemm_bf16_bf16_8x8x8", &gemm_bf16_bf16_8x8x8, 8, 8, 8, 2, 2, 2, 94.1}};

GemmCallShape call_shape(const GemmRow& row, Arguments arguments) {
  require_count(row.symbol, arguments, 6);
  const auto size = [&](size_t index, uint32_t unit) {
    const int64_t value = arguments[index].integer;
    require(row.symbol, value > 0 && value % unit == 0 && value <= 0xFFFF,
            fmt::format("a tile size of {} is not a multiple of {}", value, unit));
    return static_cast<uint32_t>(value);
  };
  return {size(3, row.r), size(4, row.s), size(5, row.t),   row.r,
          row.s,          row.t,          row.issue_cycles, row.block_overhead};
}

void run_gemm(const GemmRow& row, Arguments arguments) {
  const GemmCallShape shape = call_shape(row, arguments);
  const std::array<uint64_t, 3> needed = {uint64_t{shape.m} * shape.k * row.in_size,
                                          uint64_t{shape.n} * shape.k * row.in_size,
                                          uint64_t{shape.m} * shape.n * row.out_size};
  for (size_t i = 0; i < needed.size(); ++i)
    require(
        row.symbol, needed[i] <= arguments[i].size,
        fmt::format("operand {} has {} bytes, the tile needs {}", i, arguments[i].size, needed[i]));
  row.function(arguments[0].buffer, arguments[1].buffer, arguments[2].buffer, number(arguments[3]),
               number(arguments[4]), number(arguments[5]));
}

void add_gemm_kernels(KernelTable& table) {
  for (const GemmRow& row : kGemmKernels)
    table.add(
        std::string(row.symbol),
        {.run = [&row](Arguments arguments) { run_gemm(row, arguments); },
         .cycles = [&row](Arguments arguments) { return gemm_cycles(call_shape(row, arguments)); },
         .operations =
             [&row](Arguments arguments) {
               const GemmCallShape shape = call_shape(row, arguments);
               return uint64_t{2} * shape.m * shape.k * shape.n;
             }});
  static constexpr std::string_view kSymbol = "gemm_clear";
  table.add(std::string(kSymbol),
            {.run =
                 [](Arguments arguments) {
                   require_count(kSymbol, arguments, 2);
                   require_size(kSymbol, arguments[1].integer, 4, arguments[0].size);
                   gemm_clear(arguments[0].buffer, number(arguments[1]));
                 },
             .cycles =
                 [](Arguments arguments) {
                   require_count(kSymbol, arguments, 2);
                   return copy_cycles(static_cast<uint64_t>(arguments[1].integer));
                 }});
}

}  // namespace

void add_builtin_kernels(KernelTable& table) {
  add_load_activations(table);
  add_clear(table);
  add_tile_kernels(table);
  add_flush_kernels(table);
  add_gemm_kernels(table);
}

}  // namespace tandem::npu
