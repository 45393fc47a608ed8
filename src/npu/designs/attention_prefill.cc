// Prefill: output-stationary on the whole array. Core row r owns a quarter of the tokens, column c
// a share of the outputs; weights are read once, in the very layout decode streams.
//
//   shim r MM2S -> mem tile r -> the cores of row r       activation units, sent anew per row block
//   shim c MM2S -> mem tile c -> the cores of column c    weight tiles
//   cores of column c -> mem tile c (joined) -> shim c    sums of one row block
//
// Activations come from host memory again for every row block: at the cores' pace that is under
// 2 GB/s a channel, and spares the mem tiles a resident copy that would take two thirds of them.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "base/error.h"
#include "npu/designs/attention.h"

namespace tandem::npu {
namespace {

constexpr uint32_t kCoreRows = Int4Layout::kCoresPerColumn;
constexpr uint32_t kPair = Int4Layout::kCoresPerStream;

std::string activations_fifo(uint32_t row) { return fmt::format("activations_{}", row); }
std::string units_fifo(uint32_t row) { return fmt::format("units_{}", row); }
std::string weights_fifo(uint32_t column) { return fmt::format("weights_{}", column); }
std::string tiles_fifo(uint32_t column) { return fmt::format("tiles_{}", column); }
std::string results_fifo(uint32_t column) { return fmt::format("results_{}", column); }
std::string sums_fifo(uint32_t column, uint32_t row) {
  return fmt::format("sums_{}_{}", column, row);
}

class PrefillDesign {
 public:
  PrefillDesign(const DesignRequest& request, const ProjectionLayout& layout)
      : request_(request),
        layout_(layout),
        weights_(layout.weights),
        geometry_(geometry_of(request.generation)),
        writer_(geometry_, weights_.columns),
        unit_memref_(memref_of(layout.unit_size(), "i8")),
        tile_memref_(memref_of(weights_.tile_size(), "i8")),
        sums_memref_(memref_of(result_words(), "i32")) {}

  EmittedDesign emit() {
    writer_.declare_tiles();
    kernels_ = declare_projection_kernels(writer_, layout_);
    for (uint32_t row = 0; row < kCoreRows; ++row) declare_activations(row);
    for (uint32_t column = 0; column < weights_.columns; ++column) declare_column(column);
    for (uint32_t column = 0; column < weights_.columns; ++column)
      for (uint32_t row = 0; row < kCoreRows; ++row) write_core(column, row);
    write_sequence();
    return writer_.finish(title(), sequence_name());
  }

 private:
  uint32_t core_row(uint32_t row) const { return geometry_.first_core_row + row; }
  uint64_t result_words() const { return layout_.result_object_size() / kWordSize; }
  // Row blocks of a column: those of its four cores in decode.
  uint32_t column_blocks() const { return kCoreRows * weights_.blocks; }

  // The mem tile of column r feeds core row r.
  void declare_activations(uint32_t row) {
    const TileIndex shim{row, 0}, mem{row, 1};
    std::vector<TileIndex> cores;
    for (uint32_t column = 0; column < weights_.columns; ++column) {
      cores.push_back({column, core_row(row)});
      writer_.budget().add_core_end(cores.back(), false, 2, layout_.unit_size());
    }
    declare_linked(activations_fifo(row), units_fifo(row), shim, mem, cores, unit_memref_);
    writer_.budget().add_link(mem, false, 1, 2, layout_.unit_size());
  }

  void declare_column(uint32_t column) {
    const TileIndex shim{column, 0}, mem{column, 1};
    std::vector<TileIndex> cores;
    std::vector<std::string> branches;
    std::vector<uint64_t> offsets;
    for (uint32_t row = 0; row < kCoreRows; ++row) {
      cores.push_back({column, core_row(row)});
      writer_.budget().add_core_end(cores.back(), false, 2, weights_.tile_size());
      branches.push_back(sums_fifo(column, row));
      offsets.push_back(row * result_words());
      writer_.declare_fifo({.name = branches.back(),
                            .producer = cores.back(),
                            .consumers = {mem},
                            .depth = 1,
                            .memref = sums_memref_,
                            .to_stream = {},
                            .from_stream = {}});
      writer_.budget().add_core_end(cores.back(), true, 1, layout_.result_object_size());
    }
    declare_linked(weights_fifo(column), tiles_fifo(column), shim, mem, cores, tile_memref_);
    writer_.budget().add_link(mem, false, 1, 2, weights_.tile_size());
    writer_.declare_fifo({.name = results_fifo(column),
                          .producer = mem,
                          .consumers = {shim},
                          .memref = memref_of(kCoreRows * result_words(), "i32"),
                          .to_stream = {},
                          .from_stream = {}});
    writer_.link(branches, {results_fifo(column)}, offsets);
    writer_.budget().add_link(mem, true, kCoreRows, 2, kCoreRows * layout_.result_object_size());
    writer_.budget().add_shim_end(shim, false);
  }

  // shim -> mem -> cores, the same objects all the way.
  void declare_linked(const std::string& in, const std::string& out, TileIndex shim, TileIndex mem,
                      const std::vector<TileIndex>& cores, const std::string& memref) {
    writer_.declare_fifo({.name = in,
                          .producer = shim,
                          .consumers = {mem},
                          .memref = memref,
                          .to_stream = {},
                          .from_stream = {}});
    writer_.declare_fifo({.name = out,
                          .producer = mem,
                          .consumers = cores,
                          .memref = memref,
                          .to_stream = {},
                          .from_stream = {}});
    writer_.link({in}, {out}, {});
    writer_.budget().add_shim_end(shim, true);
  }

  void write_core(uint32_t column, uint32_t row) {
    const TileIndex tile{column, core_row(row)};
    const std::string suffix = fmt::format("{}_{}", column, tile.row);
    writer_.line(0, "%accumulators_{0} = aie.buffer(%core_{0}) : {1}", suffix, sums_memref_);
    writer_.budget().at(tile).memory += layout_.result_object_size();
    writer_.begin_core(tile, {0, 1, weights_.steps});
    write_projection_constants(writer_, layout_, kernels_);
    writer_.line(1, "%unit_index = arith.constant 0 : i32");
    writer_.begin_endless_loop(1);  // row block after row block
    writer_.line(2, "func.call @w4a8_clear(%accumulators_{0}, %size) : ({1}, i32) -> ()", suffix,
                 sums_memref_);
    writer_.begin_loop(2, "step", weights_.steps);
    writer_.acquire(3, units_fifo(row), false, unit_memref_, "unit");
    writer_.acquire(3, tiles_fifo(column), false, tile_memref_, "tile");
    writer_.line(3,
                 "func.call @{0}(%tile, %unit, %accumulators_{1}, %unit_index, %shape) : ({2}, "
                 "{3}, {4}, i32, i32) -> ()",
                 kernels_.tile, suffix, tile_memref_, unit_memref_, sums_memref_);
    writer_.release(3, tiles_fifo(column), false);
    writer_.release(3, units_fifo(row), false);
    writer_.end_loop(2);
    writer_.acquire(2, sums_fifo(column, row), true, sums_memref_, "result");
    writer_.line(2, "func.call @{0}(%accumulators_{1}, %result, %size) : ({2}, {2}, i32) -> ()",
                 kernels_.flush, suffix, sums_memref_);
    writer_.release(2, sums_fifo(column, row), true);
    writer_.end_endless_loop(1);
    writer_.end_core();
  }

  void write_sequence() {
    const SequenceTypes types = begin_projection_sequence(writer_, layout_, sequence_name());
    const std::vector<std::string> tasks =
        receive_results(writer_, layout_, types.results, results_fifo);
    for (uint32_t row = 0; row < kCoreRows; ++row) send_activations(row, types.activations);
    for (uint32_t column = 0; column < weights_.columns; ++column)
      send_weights(column, types.weights);
    for (const std::string& task : tasks) writer_.await(task);
    writer_.line(0, "}}");
  }

  // A row's units, once for every row block.
  void send_activations(uint32_t row, const std::string& memref) {
    const uint64_t words = uint64_t{weights_.steps} * layout_.unit_size() / kWordSize;
    for (uint32_t sent = 0; sent < column_blocks();) {
      const uint32_t count = std::min(geometry_.max_repeat, column_blocks() - sent);
      writer_.transfer({row, 0}, {.argument = "activations",
                                  .memref = memref,
                                  .fifo = activations_fifo(row),
                                  .offset = row * words,
                                  .length = words,
                                  .dimensions = {},
                                  .repetitions = count});
      sent += count;
    }
  }

  // Decode's streams hold the tiles of two cores in turn; here all of one core's row blocks are
  // sent, then the other's: four tasks, as many as a channel's queue holds.
  void send_weights(uint32_t column, const std::string& memref) {
    const uint64_t tile = weights_.tile_size() / kWordSize;
    for (uint32_t core = 0; core < kCoreRows; ++core)
      writer_.transfer({column, 0},
                       {.argument = "weights",
                        .memref = memref,
                        .fifo = weights_fifo(column),
                        .offset = weights_.tile_offset(column * kCoreRows + core, 0, 0) / kWordSize,
                        .length = uint64_t{weights_.blocks} * weights_.steps * tile,
                        .dimensions = {{weights_.blocks, weights_.steps * kPair * tile},
                                       {weights_.steps, kPair * tile},
                                       {tile, 1}}});
  }

  std::string sequence_name() const { return fmt::format("{}_prefill", to_text(request_.op)); }

  std::string title() const {
    return fmt::format(
        "// {} projection, prefill of {} rows: K = {}, N = {} on {} columns of {}.\n"
        "// A core holds {} rows x {} outputs and does {} row blocks of {} steps of {} inputs.\n",
        to_text(request_.op), layout_.rows, weights_.inputs, weights_.outputs, weights_.columns,
        geometry_.name, layout_.rows_per_core(), weights_.tile_rows, column_blocks(),
        weights_.steps, weights_.tile_depth);
  }

  const DesignRequest& request_;
  const ProjectionLayout& layout_;
  const Int4Layout& weights_;
  const Geometry& geometry_;
  DesignWriter writer_;
  ProjectionKernels kernels_;
  std::string unit_memref_, tile_memref_, sums_memref_;
};

}  // namespace

EmittedDesign emit_prefill(const DesignRequest& request, const ProjectionLayout& layout) {
  if (layout.weights.columns < kCoreRows)
    throw Error(ErrorCode::kUnsupported,
                fmt::format("a prefill design needs {} columns to feed its rows of cores, not {}",
                            kCoreRows, layout.weights.columns));
  return PrefillDesign(request, layout).emit();
}

}  // namespace tandem::npu
