// Output-stationary on the whole array: core (c, r) owns tile row r and tile column c of a block of
// 4 m x columns n outputs, and walks along K.
//
//   shim r MM2S -> mem tile r -> the cores of row r
//       m x contiguous_k of A, sent as m x k tiles
//   shim c MM2S -> mem tile c -> the cores of column c
//       n x contiguous_k of B, sent as n x k tiles
//   cores of column c -> mem tile c (joined) -> shim c
//       C tiles, back to row-major
//
// The array's multiply takes blocks of r x s and t x s. A mem tile first splits the runs of K into
// tiles as it receives them ([k tile][row][k]) and then sends blocks
// ([row block][k block][row][k]). C has one buffer on a core: the largest tiles leave no room for
// two, and it drains in a hundredth of the time it takes to fill.
// SPDX-License-Identifier: Apache-2.0
#include "npu/designs/gemm.h"

#include <algorithm>
#include <deque>

#include "base/error.h"
#include "npu/designs/writer.h"

namespace tandem::npu {
namespace {

constexpr uint32_t kCoreRows = Int4Layout::kCoresPerColumn;
constexpr uint32_t kDefaultRun = 4;      // tiles of K a mem tile reads in a run
constexpr uint32_t kBlocksInFlight = 2;  // blocks of C whose descriptors are queued at once

struct BlockShape {
  uint32_t r, s, t;
};

// The multiply's native shape by generation and input type [aie_api mmul headers].
BlockShape block_shape(Generation generation, GemmType in) {
  if (generation == Generation::kNpu2) return {8, 8, 8};
  return in == GemmType::kBf16 ? BlockShape{4, 8, 4} : BlockShape{4, 8, 8};
}

std::string_view element(GemmType type) {
  switch (type) {
    case GemmType::kInt8: return "i8";
    case GemmType::kInt16: return "i16";
    case GemmType::kInt32: return "i32";
    case GemmType::kBf16: break;
  }
  return "bf16";
}

uint32_t round_up(uint32_t value, uint32_t unit) { return (value + unit - 1) / unit * unit; }

[[noreturn]] void unsupported(std::string reason) {
  throw Error(ErrorCode::kUnsupported, std::move(reason));
}

// A list of <size, stride> as the dialect writes it, outermost first.
std::string layout_text(std::initializer_list<std::pair<uint32_t, uint32_t>> dimensions) {
  std::string text;
  for (const auto& [size, stride] : dimensions)
    text += fmt::format("{}<size = {}, stride = {}>", text.empty() ? "" : ", ", size, stride);
  return "[" + text + "]";
}

class GemmDesign {
 public:
  GemmDesign(const DesignRequest& request, uint32_t columns)
      : request_(request),
        geometry_(geometry_of(request.generation)),
        columns_(columns),
        tile_(request.tile),
        block_(block_shape(request.generation, request.in)),
        writer_(geometry_, columns) {
    check();
    in_size_ = size_of(request.in);
    out_size_ = size_of(request.out);
    run_ = request.contiguous_k != 0 ? request.contiguous_k : default_run();
    rows_ = round_up(request.rows, kCoreRows * tile_.m);
    inputs_ = round_up(request.inputs, run_);
    outputs_ = round_up(request.outputs, columns * tile_.n);
    check_run();
  }

  EmittedDesign emit() {
    writer_.declare_tiles();
    declare_kernels();
    for (uint32_t row = 0; row < kCoreRows; ++row) declare_operand(row, true);
    for (uint32_t column = 0; column < columns_; ++column) {
      declare_operand(column, false);
      declare_results(column);
    }
    for (uint32_t column = 0; column < columns_; ++column)
      for (uint32_t row = 0; row < kCoreRows; ++row) write_core(column, row);
    write_sequence();
    EmittedDesign design = writer_.finish(title(), "gemm");
    design.buffers = {{"a", size_t{rows_} * inputs_ * in_size_, false},
                      {"b", size_t{outputs_} * inputs_ * in_size_, false},
                      {"c", size_t{rows_} * outputs_ * out_size_, true}};
    return design;
  }

 private:
  void check() const {
    const bool bf16_in = request_.in == GemmType::kBf16, bf16_out = request_.out == GemmType::kBf16;
    if (bf16_in != bf16_out || (!bf16_in && request_.in != GemmType::kInt8))
      unsupported(
          fmt::format("no GEMM from {} to {}: int8 gives int8, int16 or int32, bf16 gives bf16",
                      to_text(request_.in), to_text(request_.out)));
    if (request_.rows == 0 || request_.inputs == 0 || request_.outputs == 0)
      throw Error(ErrorCode::kUsage, "a GEMM needs M, K and N of at least 1");
    const auto bad = [](uint32_t size, uint32_t unit) { return size == 0 || size % unit != 0; };
    if (bad(tile_.m, block_.r) || bad(tile_.k, block_.s) || bad(tile_.n, block_.t))
      throw Error(ErrorCode::kUsage,
                  fmt::format("a tile of {}x{}x{} is not made of the multiply's {}x{}x{} blocks",
                              tile_.m, tile_.k, tile_.n, block_.r, block_.s, block_.t));
    if (columns_ < kCoreRows)
      unsupported(fmt::format("a GEMM design needs {} columns to feed its rows of cores, not {}",
                              kCoreRows, columns_));
  }

  // Descriptor fields that the run and the padded sizes must fit.
  void check_run() const {
    if (run_ % tile_.k != 0)
      throw Error(
          ErrorCode::kUsage,
          fmt::format("{} contiguous elements of K are not whole tiles of {}", run_, tile_.k));
    const TileGeometry& shim = geometry_.shim;
    const auto words = [](uint64_t bytes) { return bytes / kWordSize; };
    if (words(uint64_t{run_} * in_size_) > shim.max_wrap || tile_.n * out_size_ % kWordSize != 0 ||
        std::max(tile_.n, kCoreRows * tile_.m) > shim.max_wrap)
      unsupported(fmt::format("a run of {} elements or {} rows is over a descriptor's wrap of {}",
                              run_, kCoreRows * tile_.m, shim.max_wrap));
    if (words(uint64_t{inputs_} * in_size_) > shim.max_stride ||
        words(uint64_t{outputs_} * out_size_) > shim.max_stride)
      unsupported(fmt::format("a row of {} inputs or {} outputs is over a descriptor's stride",
                              inputs_, outputs_));
  }

  // As many tiles as the default asks and the mem tile holds, one at least.
  uint32_t default_run() const {
    uint32_t tiles = std::min(kDefaultRun, (request_.inputs + tile_.k - 1) / tile_.k);
    const uint64_t results = uint64_t{2} * kCoreRows * tile_.m * tile_.n * size_of(request_.out);
    const auto memory = [&](uint32_t count) {
      return results + uint64_t{2} * (tile_.m + tile_.n) * tile_.k * count * size_of(request_.in);
    };
    while (tiles > 1 && memory(tiles) > geometry_.mem.memory) --tiles;
    return tiles * tile_.k;
  }

  static std::string operand(bool is_a) { return is_a ? "a" : "b"; }
  std::string run_fifo(uint32_t index, bool is_a) const {
    return fmt::format("{}_runs_{}", operand(is_a), index);
  }
  std::string tile_fifo(uint32_t index, bool is_a) const {
    return fmt::format("{}_tiles_{}", operand(is_a), index);
  }
  static std::string core_fifo(uint32_t column, uint32_t row) {
    return fmt::format("c_tiles_{}_{}", column, row);
  }
  static std::string results_fifo(uint32_t column) { return fmt::format("c_blocks_{}", column); }

  uint32_t core_row(uint32_t row) const { return geometry_.first_core_row + row; }
  std::string tile_memref(bool is_a) const {
    return memref_of(uint64_t{is_a ? tile_.m : tile_.n} * tile_.k, element(request_.in));
  }
  std::string result_memref() const {
    return memref_of(uint64_t{tile_.m} * tile_.n, element(request_.out));
  }
  std::string kernel() const {
    return fmt::format("gemm_{}_{}_{}x{}x{}", to_text(request_.in), to_text(request_.out), block_.r,
                       block_.s, block_.t);
  }

  void declare_kernels() {
    constexpr std::string_view kObject = "gemm_aie2.o";
    writer_.declare_kernel("gemm_clear", fmt::format("{}, i32", result_memref()), kObject);
    writer_.declare_kernel(kernel(),
                           fmt::format("{}, {}, {}, i32, i32, i32", tile_memref(true),
                                       tile_memref(false), result_memref()),
                           kObject);
  }

  // A for a row of cores, or B for a column.
  void declare_operand(uint32_t index, bool is_a) {
    const TileIndex shim{index, 0}, mem{index, 1};
    const uint32_t lines = is_a ? tile_.m : tile_.n, unit = is_a ? block_.r : block_.t;
    const uint32_t count = run_ / tile_.k;
    std::vector<TileIndex> cores;
    for (uint32_t i = 0; i < (is_a ? columns_ : kCoreRows); ++i) {
      cores.push_back(is_a ? TileIndex{i, core_row(index)} : TileIndex{index, core_row(i)});
      writer_.budget().add_core_end(cores.back(), false, 2, uint64_t{lines} * tile_.k * in_size_);
    }
    FifoText runs{.name = run_fifo(index, is_a),
                  .producer = shim,
                  .consumers = {mem},
                  .memref = memref_of(uint64_t{lines} * run_, element(request_.in)),
                  .to_stream = {},
                  .from_stream = {}};
    if (count > 1)
      runs.from_stream = layout_text({{lines, tile_.k}, {count, lines * tile_.k}, {tile_.k, 1}});
    writer_.declare_fifo(runs);
    writer_.declare_fifo({.name = tile_fifo(index, is_a),
                          .producer = mem,
                          .consumers = cores,
                          .memref = tile_memref(is_a),
                          .to_stream = layout_text({{count * lines / unit, unit * tile_.k},
                                                    {tile_.k / block_.s, block_.s},
                                                    {unit, tile_.k},
                                                    {block_.s, 1}}),
                          .from_stream = {}});
    writer_.link({run_fifo(index, is_a)}, {tile_fifo(index, is_a)}, {});
    writer_.budget().add_shim_end(shim, true);
    writer_.budget().add_link(mem, false, 1, 2, uint64_t{lines} * run_ * in_size_);
  }

  void declare_results(uint32_t column) {
    const TileIndex shim{column, 0}, mem{column, 1};
    const uint64_t count = uint64_t{tile_.m} * tile_.n;
    std::vector<std::string> branches;
    std::vector<uint64_t> offsets;
    for (uint32_t row = 0; row < kCoreRows; ++row) {
      branches.push_back(core_fifo(column, row));
      offsets.push_back(row * count);
      writer_.declare_fifo({.name = branches.back(),
                            .producer = {column, core_row(row)},
                            .consumers = {mem},
                            .depth = 1,
                            .memref = result_memref(),
                            .to_stream = {},
                            .from_stream = {}});
      writer_.budget().add_core_end({column, core_row(row)}, true, 1, count * out_size_);
    }
    writer_.declare_fifo({.name = results_fifo(column),
                          .producer = mem,
                          .consumers = {shim},
                          .memref = memref_of(kCoreRows * count, element(request_.out)),
                          .to_stream = layout_text({{tile_.m / block_.r, block_.r * tile_.n},
                                                    {block_.r, block_.t},
                                                    {tile_.n / block_.t, block_.r * block_.t},
                                                    {block_.t, 1}}),
                          .from_stream = {}});
    writer_.link(branches, {results_fifo(column)}, offsets);
    writer_.budget().add_link(mem, true, kCoreRows, 2, kCoreRows * count * out_size_);
    writer_.budget().add_shim_end(shim, false);
  }

  void write_core(uint32_t column, uint32_t row) {
    const uint64_t steps = inputs_ / tile_.k;
    const std::string a = tile_memref(true), b = tile_memref(false), c = result_memref();
    writer_.begin_core({column, core_row(row)}, {0, 1, steps});
    writer_.line(1, "%m = arith.constant {} : i32", tile_.m);
    writer_.line(1, "%k = arith.constant {} : i32", tile_.k);
    writer_.line(1, "%n = arith.constant {} : i32", tile_.n);
    writer_.line(1, "%size = arith.constant {} : i32", tile_.m * tile_.n * out_size_);
    writer_.begin_endless_loop(1);
    writer_.acquire(2, core_fifo(column, row), true, c, "c");
    writer_.line(2, "func.call @gemm_clear(%c, %size) : ({}, i32) -> ()", c);
    writer_.begin_loop(2, "step", steps);
    writer_.acquire(3, tile_fifo(row, true), false, a, "a");
    writer_.acquire(3, tile_fifo(column, false), false, b, "b");
    writer_.line(3, "func.call @{}(%a, %b, %c, %m, %k, %n) : ({}, {}, {}, i32, i32, i32) -> ()",
                 kernel(), a, b, c);
    writer_.release(3, tile_fifo(row, true), false);
    writer_.release(3, tile_fifo(column, false), false);
    writer_.end_loop(2);
    writer_.release(2, core_fifo(column, row), true);
    writer_.end_endless_loop(1);
    writer_.end_core();
  }

  // Block rows of C one after the other; the descriptors of the next are queued before the last is
  // waited for, so that the array never stands still for the controller.
  void write_sequence() {
    const uint64_t a = uint64_t{rows_} * inputs_, b = uint64_t{outputs_} * inputs_;
    const std::string_view in = element(request_.in), out = element(request_.out);
    a_memref_ = memref_of(a, in);
    b_memref_ = memref_of(b, in);
    c_memref_ = memref_of(uint64_t{rows_} * outputs_, out);
    writer_.line(0, "aie.runtime_sequence @gemm(%a : {}, %b : {}, %c : {}) {{", a_memref_,
                 b_memref_, c_memref_);
    const uint32_t block_rows = rows_ / (kCoreRows * tile_.m);
    const uint32_t panels = outputs_ / (columns_ * tile_.n);
    const uint32_t chunk = panels_per_transfer(panels);
    std::deque<BlockTasks> in_flight;
    for (uint32_t block_row = 0; block_row < block_rows; ++block_row)
      for (uint32_t panel = 0; panel < panels; panel += chunk) {
        if (in_flight.size() == kBlocksInFlight) {
          finish(in_flight.front());
          in_flight.pop_front();
        }
        in_flight.push_back(issue(block_row, panel, std::min(chunk, panels - panel)));
      }
    for (const BlockTasks& tasks : in_flight) finish(tasks);
    writer_.line(0, "}}");
  }

  struct BlockTasks {
    std::vector<std::string> results, operands;
  };

  // Results that have arrived mean that their operands have been sent.
  void finish(const BlockTasks& tasks) {
    for (const std::string& task : tasks.results) writer_.await(task);
    for (const std::string& task : tasks.operands) writer_.free(task);
  }

  // How many panels one descriptor's iteration may walk.
  uint32_t panels_per_transfer(uint32_t panels) const {
    const uint64_t b_stride = uint64_t{columns_} * tile_.n * inputs_ * in_size_ / kWordSize;
    return b_stride > geometry_.shim.max_stride ? 1 : std::min(panels, geometry_.max_iteration);
  }

  BlockTasks issue(uint32_t block_row, uint32_t panel, uint32_t count) {
    const uint64_t first_row = uint64_t{block_row} * kCoreRows * tile_.m;
    const uint64_t panel_width = uint64_t{columns_} * tile_.n, block_rows = kCoreRows * tile_.m;
    BlockTasks tasks;
    for (uint32_t column = 0; column < columns_; ++column)
      tasks.results.push_back(writer_.transfer(
          {column, 0}, {.argument = "c",
                        .memref = c_memref_,
                        .fifo = results_fifo(column),
                        .offset = first_row * outputs_ + panel * panel_width + column * tile_.n,
                        .length = count * block_rows * tile_.n,
                        .dimensions = {{count, panel_width}, {block_rows, outputs_}, {tile_.n, 1}},
                        .awaited = true}));
    const uint64_t runs = inputs_ / run_;
    for (uint32_t row = 0; row < kCoreRows; ++row)
      tasks.operands.push_back(
          writer_.transfer({row, 0}, {.argument = "a",
                                      .memref = a_memref_,
                                      .fifo = run_fifo(row, true),
                                      .offset = (first_row + row * tile_.m) * inputs_,
                                      .length = uint64_t{tile_.m} * inputs_,
                                      .dimensions = {{runs, run_}, {tile_.m, inputs_}, {run_, 1}},
                                      .repetitions = count}));
    for (uint32_t column = 0; column < columns_; ++column) {
      TransferText b = {.argument = "b",
                        .memref = b_memref_,
                        .fifo = run_fifo(column, false),
                        .offset = (panel * panel_width + column * tile_.n) * inputs_,
                        .length = uint64_t{tile_.n} * inputs_,
                        .dimensions = {{runs, run_}, {tile_.n, inputs_}, {run_, 1}},
                        .repetitions = count};
      if (count > 1) b.dimensions.insert(b.dimensions.begin(), {count, panel_width * inputs_});
      tasks.operands.push_back(writer_.transfer({column, 0}, b));
    }
    return tasks;
  }

  std::string title() const {
    return fmt::format(
        "// GEMM C[{}, {}] = A[{}, {}] * B[{}, {}]^T, {} to {}, on {} columns of {}.\n"
        "// Core tile {}x{}x{} of {}x{}x{} blocks; mem tiles read runs of {} elements of K.\n"
        "// Sizes are rounded up from M = {}, K = {}, N = {}; the host pads with zeros.\n",
        rows_, outputs_, rows_, inputs_, outputs_, inputs_, to_text(request_.in),
        to_text(request_.out), columns_, geometry_.name, tile_.m, tile_.k, tile_.n, block_.r,
        block_.s, block_.t, run_, request_.rows, request_.inputs, request_.outputs);
  }

  const DesignRequest& request_;
  const Geometry& geometry_;
  uint32_t columns_;
  GemmTile tile_;
  BlockShape block_;
  DesignWriter writer_;
  uint32_t in_size_ = 1, out_size_ = 1;
  uint32_t run_ = 0;                              // elements of K
  uint32_t rows_ = 0, inputs_ = 0, outputs_ = 0;  // M, K, N, padded
  std::string a_memref_, b_memref_, c_memref_;
};

}  // namespace

uint32_t size_of(GemmType type) {
  switch (type) {
    case GemmType::kInt8: return 1;
    case GemmType::kInt32: return 4;
    case GemmType::kInt16:
    case GemmType::kBf16: break;
  }
  return 2;
}

EmittedDesign emit_gemm(const DesignRequest& request, uint32_t columns) {
  return GemmDesign(request, columns).emit();
}

}  // namespace tandem::npu
