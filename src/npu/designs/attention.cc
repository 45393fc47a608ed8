// What the decode and prefill designs of a projection share.
// SPDX-License-Identifier: Apache-2.0
#include "npu/designs/attention.h"

#include "npu/kernels/w4a8_shape.h"

namespace tandem::npu {
namespace {

constexpr std::string_view kObject = "w4a8_aie2.o";

}  // namespace

ProjectionKernels declare_projection_kernels(DesignWriter& writer, const ProjectionLayout& layout) {
  const Int4Layout& weights = layout.weights;
  const bool exact = weights.scales == ScaleMode::kExact;
  const W4A8Shape shape = {layout.row_groups, weights.groups_per_tile(),
                           weights.tile_rows / weights.multiply_columns, layout.accumulators};
  ProjectionKernels kernels = {
      fmt::format("w4a8_{}_n{}", exact ? "exact" : "integer", weights.multiply_columns),
      fmt::format("w4a8_flush_{}", exact ? "exact" : "integer"), pack_shape(shape)};
  const std::string tile = memref_of(weights.tile_size(), "i8");
  const bool decode = layout.phase == Phase::kDecode;
  const std::string activations = memref_of(
      decode ? uint64_t{layout.slots} * layout.slot_units * layout.unit_size() : layout.unit_size(),
      "i8");
  const std::string sums = memref_of(layout.result_object_size() / kWordSize, "i32");
  if (decode)
    writer.declare_kernel("w4a8_load_activations",
                          fmt::format("{}, {}, i32, i32", tile, activations), kObject);
  writer.declare_kernel("w4a8_clear", fmt::format("{}, i32", sums), kObject);
  writer.declare_kernel(kernels.tile, fmt::format("{}, {}, {}, i32, i32", tile, activations, sums),
                        kObject);
  writer.declare_kernel(kernels.flush, fmt::format("{0}, {0}, i32", sums), kObject);
  return kernels;
}

void write_projection_constants(DesignWriter& writer, const ProjectionLayout& layout,
                                const ProjectionKernels& kernels) {
  writer.line(1, "%shape = arith.constant {} : i32", kernels.shape);
  writer.line(1, "%size = arith.constant {} : i32", layout.result_object_size());
}

SequenceTypes begin_projection_sequence(DesignWriter& writer, const ProjectionLayout& layout,
                                        const std::string& name) {
  SequenceTypes types = {memref_of(layout.weights.weights_size() / kWordSize, "i32"),
                         memref_of(layout.activations_size() / kWordSize, "i32"),
                         memref_of(layout.results_size() / kWordSize, "i32")};
  writer.line(0, "aie.runtime_sequence @{}(%weights : {}, %activations : {}, %results : {}) {{",
              name, types.weights, types.activations, types.results);
  return types;
}

std::vector<std::string> receive_results(DesignWriter& writer, const ProjectionLayout& layout,
                                         const std::string& memref,
                                         const std::function<std::string(uint32_t column)>& fifo) {
  const uint64_t words = layout.results_size() / layout.weights.columns / kWordSize;
  std::vector<std::string> tasks;
  for (uint32_t column = 0; column < layout.weights.columns; ++column)
    tasks.push_back(writer.transfer({column, 0}, {.argument = "results",
                                                  .memref = memref,
                                                  .fifo = fifo(column),
                                                  .offset = column * words,
                                                  .length = words,
                                                  .dimensions = {},
                                                  .awaited = true}));
  return tasks;
}

}  // namespace tandem::npu
