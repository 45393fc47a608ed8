// Decode: all shim channels stream packed weights, two a column, each to a pair of cores.
//
//   shim MM2S 0/1 -> mem tile -> cores 0,1 / 2,3    activation slots, then tiles, in one stream
//   cores 0..3 -> mem tile (joined) -> shim S2MM 0  sums of a row block of each core
//
// The mem tile's six S2MM channels are all taken (two weight streams, four results), which is why
// activations ride ahead of the weights instead of having a path of their own.
// SPDX-License-Identifier: Apache-2.0
#include "npu/designs/attention.h"

namespace tandem::npu {
namespace {

constexpr uint32_t kPair = Int4Layout::kCoresPerStream;
constexpr uint32_t kCoreRows = Int4Layout::kCoresPerColumn;

std::string weights_fifo(uint32_t column, uint32_t half) {
  return fmt::format("weights_{}_{}", column, half);
}
std::string tiles_fifo(uint32_t column, uint32_t row) {
  return fmt::format("tiles_{}_{}", column, row);
}
std::string sums_fifo(uint32_t column, uint32_t row) {
  return fmt::format("sums_{}_{}", column, row);
}
std::string results_fifo(uint32_t column) { return fmt::format("results_{}", column); }

class DecodeDesign {
 public:
  DecodeDesign(const DesignRequest& request, const ProjectionLayout& layout)
      : request_(request),
        layout_(layout),
        weights_(layout.weights),
        geometry_(geometry_of(request.generation)),
        writer_(geometry_, weights_.columns),
        tile_memref_(memref_of(weights_.tile_size(), "i8")),
        result_words_(layout.result_object_size() / kWordSize) {}

  EmittedDesign emit() {
    writer_.declare_tiles();
    kernels_ = declare_projection_kernels(writer_, layout_);
    for (uint32_t column = 0; column < weights_.columns; ++column) declare_column(column);
    for (uint32_t column = 0; column < weights_.columns; ++column)
      for (uint32_t row = 0; row < kCoreRows; ++row) write_core(column, row);
    write_sequence();
    return writer_.finish(title(), sequence_name());
  }

 private:
  uint32_t core_row(uint32_t row) const { return geometry_.first_core_row + row; }

  void declare_column(uint32_t column) {
    const TileIndex shim{column, 0}, mem{column, 1};
    for (uint32_t half = 0; half < kPair; ++half) {
      writer_.declare_fifo({.name = weights_fifo(column, half),
                            .producer = shim,
                            .consumers = {mem},
                            .memref = memref_of(kPair * weights_.tile_size(), "i8"),
                            .to_stream = {},
                            .from_stream = {}});
      writer_.budget().add_shim_end(shim, true);
      std::vector<std::string> branches;
      for (uint32_t i = 0; i < kPair; ++i) {
        const uint32_t row = core_row(half * kPair + i);
        branches.push_back(tiles_fifo(column, row));
        writer_.declare_fifo({.name = branches.back(),
                              .producer = mem,
                              .consumers = {{column, row}},
                              .memref = tile_memref_,
                              .to_stream = {},
                              .from_stream = {}});
        writer_.budget().add_core_end({column, row}, false, 2, weights_.tile_size());
      }
      writer_.link({weights_fifo(column, half)}, branches, {0, weights_.tile_size()});
      writer_.budget().add_link(mem, false, kPair, 2, kPair * weights_.tile_size());
    }
    std::vector<std::string> branches;
    std::vector<uint64_t> offsets;
    for (uint32_t i = 0; i < kCoreRows; ++i) {
      branches.push_back(sums_fifo(column, core_row(i)));
      offsets.push_back(uint64_t{i} * result_words_);
      writer_.declare_fifo({.name = branches.back(),
                            .producer = {column, core_row(i)},
                            .consumers = {mem},
                            .memref = memref_of(result_words_, "i32"),
                            .to_stream = {},
                            .from_stream = {}});
      writer_.budget().add_core_end({column, core_row(i)}, true, 2, layout_.result_object_size());
    }
    writer_.declare_fifo({.name = results_fifo(column),
                          .producer = mem,
                          .consumers = {shim},
                          .memref = memref_of(kCoreRows * result_words_, "i32"),
                          .to_stream = {},
                          .from_stream = {}});
    writer_.link(branches, {results_fifo(column)}, offsets);
    writer_.budget().add_link(mem, true, kCoreRows, 2, kCoreRows * layout_.result_object_size());
    writer_.budget().add_shim_end(shim, false);
  }

  void write_core(uint32_t column, uint32_t row_index) {
    const uint32_t row = core_row(row_index);
    const TileIndex tile{column, row};
    const uint64_t activations_size = uint64_t{layout_.slots} * slot_size();
    const std::string suffix = fmt::format("{}_{}", column, row);
    const std::string activations = memref_of(activations_size, "i8");
    const std::string sums = memref_of(result_words_, "i32");
    writer_.line(0, "%activations_{0} = aie.buffer(%core_{0}) : {1}", suffix, activations);
    writer_.line(0, "%accumulators_{0} = aie.buffer(%core_{0}) : {1}", suffix, sums);
    writer_.budget().at(tile).memory += activations_size + layout_.result_object_size();

    writer_.begin_core(tile, {0, 1, layout_.slots, weights_.blocks, weights_.steps});
    write_projection_constants(writer_, layout_, kernels_);
    writer_.line(1, "%slot_size = arith.constant {} : i32", slot_size());
    const std::string tiles = tiles_fifo(column, row), results = sums_fifo(column, row);
    writer_.begin_endless_loop(1);
    writer_.begin_loop(2, "slot", layout_.slots);
    writer_.acquire(3, tiles, false, tile_memref_, "packed");
    writer_.line(3, "%slot_index = arith.index_cast %slot : index to i32");
    writer_.line(3,
                 "func.call @w4a8_load_activations(%packed, %activations_{0}, %slot_index, "
                 "%slot_size) : ({1}, {2}, i32, i32) -> ()",
                 suffix, tile_memref_, activations);
    writer_.release(3, tiles, false);
    writer_.end_loop(2);
    writer_.begin_loop(2, "block", weights_.blocks);
    writer_.line(3, "func.call @w4a8_clear(%accumulators_{0}, %size) : ({1}, i32) -> ()", suffix,
                 sums);
    writer_.begin_loop(3, "step", weights_.steps);
    writer_.acquire(4, tiles, false, tile_memref_, "tile");
    writer_.line(4, "%step_index = arith.index_cast %step : index to i32");
    writer_.line(4,
                 "func.call @{0}(%tile, %activations_{1}, %accumulators_{1}, %step_index, %shape) "
                 ": ({2}, {3}, {4}, i32, i32) -> ()",
                 kernels_.tile, suffix, tile_memref_, activations, sums);
    writer_.release(4, tiles, false);
    writer_.end_loop(3);
    writer_.acquire(3, results, true, sums, "result");
    writer_.line(3, "func.call @{0}(%accumulators_{1}, %result, %size) : ({2}, {2}, i32) -> ()",
                 kernels_.flush, suffix, sums);
    writer_.release(3, results, true);
    writer_.end_loop(2);
    writer_.end_endless_loop(1);
    writer_.end_core();
  }

  // The streams are what takes time, so they start first; results queue in the mem tiles until
  // then.
  void write_sequence() {
    const SequenceTypes types = begin_projection_sequence(writer_, layout_, sequence_name());
    const uint64_t stream_words = weights_.stream_size() / kWordSize;
    for (uint32_t stream = 0; stream < weights_.streams(); ++stream)
      writer_.transfer({stream / kPair, 0}, {.argument = "activations",
                                             .memref = types.activations,
                                             .fifo = weights_fifo(stream / kPair, stream % kPair),
                                             .length = layout_.activations_size() / kWordSize,
                                             .dimensions = {}});
    for (uint32_t stream = 0; stream < weights_.streams(); ++stream)
      writer_.transfer({stream / kPair, 0}, {.argument = "weights",
                                             .memref = types.weights,
                                             .fifo = weights_fifo(stream / kPair, stream % kPair),
                                             .offset = stream * stream_words,
                                             .length = stream_words,
                                             .dimensions = {}});
    const std::vector<std::string> tasks =
        receive_results(writer_, layout_, types.results, results_fifo);
    for (const std::string& task : tasks) writer_.await(task);
    writer_.line(0, "}}");
  }

  uint32_t slot_size() const { return layout_.slot_units * layout_.unit_size(); }
  std::string sequence_name() const { return fmt::format("{}_decode", to_text(request_.op)); }

  std::string title() const {
    return fmt::format(
        "// {} projection, decode of {} row(s): K = {}, N = {} on {} columns of {}.\n"
        "// {} streams of {} bytes: tiles of {} outputs x {} inputs, {} bytes each; a core does\n"
        "// {} row block(s) of {} step(s) after {} slot(s) of activations.\n",
        to_text(request_.op), layout_.rows, weights_.inputs, weights_.outputs, weights_.columns,
        geometry_.name, weights_.streams(), weights_.stream_size(), weights_.tile_rows,
        weights_.tile_depth, weights_.tile_size(), weights_.blocks, weights_.steps, layout_.slots);
  }

  const DesignRequest& request_;
  const ProjectionLayout& layout_;
  const Int4Layout& weights_;
  const Geometry& geometry_;
  DesignWriter writer_;
  ProjectionKernels kernels_;
  std::string tile_memref_;
  uint64_t result_words_;
};

}  // namespace

EmittedDesign emit_decode(const DesignRequest& request, const ProjectionLayout& layout) {
  return DecodeDesign(request, layout).emit();
}

}  // namespace tandem::npu
