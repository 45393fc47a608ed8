// SPDX-License-Identifier: Apache-2.0
#include "vulkan/ops/matmul.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "vulkan/matmul_tuning.h"
#include "vulkan/shaders/include/prefill_params.h"

namespace tandem::vulkan {
namespace {

constexpr uint32_t kGroup = 32;
constexpr uint32_t kMatrixSize = 16;  // see best_unit()

uint32_t divide_up(uint32_t a, uint32_t b) { return (a + b - 1) / b; }

bool aligned(Rows rows) { return rows.address % 16 == 0 && rows.stride % 4 == 0; }

MatmulUnit unit_for(ProgramBuilder& builder, DType dtype) {
  const Context& context = builder.context();
  const MatmulUnit best = best_unit(context.device.info(), !is_quantized(dtype));
  const MatmulUnit wanted = std::min(best, context.matmul_limit);
  return wanted == MatmulUnit::kDot && !is_quantized(dtype) ? MatmulUnit::kPlain : wanted;
}

std::string_view module_stem(MatmulUnit unit) {
  switch (unit) {
    case MatmulUnit::kCooperative: return "matmul_coop";
    case MatmulUnit::kDot: return "matmul_dot";
    case MatmulUnit::kPlain: return "matmul";
  }
  return {};
}

uint32_t source_of(const MatvecInput& input) {
  if (input.gated) return kSourceGeglu;
  return input.norm != 0 ? kSourceNorm : kSourceCopy;
}

// Rows as the tiles read them. Those of a part of the last tile are there, but not written.
struct Prepared {
  VkDeviceAddress x = 0, scale = 0;
};

Prepared prepare_rows(ProgramBuilder& builder, const MatvecInput& input, MatmulUnit unit,
                      uint32_t width) {
  const bool int8 = unit == MatmulUnit::kDot;
  const uint32_t largest_tile = matmul_tiles(unit)[0].m;
  const size_t rows = size_t{divide_up(input.max_rows, largest_tile)} * largest_tile;
  const Prepared prepared = {
      builder.scratch(Scratch::kMatmulX, rows * width * (int8 ? 1 : 2)),
      builder.scratch(Scratch::kMatmulScale, rows * (int8 ? width / kGroup * 8 : 4))};
  const PrepareRowsParams push{.batch = builder.batch(),
                               .x = input.x.address,
                               .weight = input.norm,
                               .y = prepared.x,
                               .scale = prepared.scale,
                               .width = width,
                               .x_stride = input.x.stride,
                               .epsilon = input.epsilon,
                               .reserved = 0};
  const Pipeline& pipeline =
      builder.pipeline("prepare_rows",
                       {{kSpecWorkgroup, builder.context().tuning.norm_workgroup},
                        {kSpecSource, source_of(input)},
                        {kSpecTarget, int8 ? kTargetQ8 : kTargetF16},
                        {kSpecRowKind, input.row_kind}},
                       sizeof push);
  builder.dispatch(pipeline, push, {input.max_rows, 1, 1},
                   {"prepare", uint64_t{6} * width * input.max_rows, 0});
  return prepared;
}

// The shaders see rows by number; gathering was done when they were prepared.
uint32_t prepared_kind(uint32_t row_kind) { return row_kind == kRowsAll ? kRowsAll : kRowsOutputs; }

std::vector<SpecConstant> tile_constants(const MatmulTile& tile, uint32_t subgroup,
                                         uint32_t row_kind) {
  std::vector<SpecConstant> constants = {{kSpecWorkgroup, tile.workgroup(subgroup)},
                                         {kSpecTileM, tile.m},
                                         {kSpecTileN, tile.n},
                                         {kSpecTileK, tile.k},
                                         {kSpecPartM, tile.part_m},
                                         {kSpecPartN, tile.part_n},
                                         {kSpecRowKind, prepared_kind(row_kind)}};
  if (tile.unit == MatmulUnit::kCooperative)
    for (uint32_t id : {kSpecMatrixM, kSpecMatrixN, kSpecMatrixK})
      constants.push_back({id, kMatrixSize});
  return constants;
}

void reduce_splits(ProgramBuilder& builder, const MatvecInput& input, const MatmulParams& product,
                   uint32_t splits, Rows target) {
  const uint32_t outputs = product.n_end[2];
  const MatmulReduceParams push{.batch = builder.batch(),
                                .partial = product.y,
                                .y = target.address,
                                .n = outputs,
                                .partial_stride = outputs,
                                .y_stride = target.stride,
                                .splits = splits,
                                .split_size = product.split_size,
                                .reserved = 0};
  const uint32_t workgroup = builder.context().tuning.norm_workgroup;
  const Pipeline& pipeline = builder.pipeline(
      "matmul_reduce", {{kSpecWorkgroup, workgroup}, {kSpecRowKind, prepared_kind(input.row_kind)}},
      sizeof push);
  builder.dispatch(pipeline, push, {divide_up(outputs, workgroup), input.max_rows, 1},
                   {"reduce", uint64_t{4} * (splits + 1) * outputs * input.max_rows, 0});
}

// Matrices of one type.
void dispatch_matmul(ProgramBuilder& builder, std::string_view label, const MatvecInput& input,
                     std::span<const Matrix> matrices, Rows target) {
  const Matrix& first = matrices[0];
  const MatmulUnit unit = unit_for(builder, first.dtype);
  const Prepared prepared = prepare_rows(builder, input, unit, first.cols);
  MatmulParams push{};
  push.batch = builder.batch();
  push.x = prepared.x;
  push.scale = prepared.scale;
  push.k = first.cols;
  push.row_size = first.row_size;
  uint32_t outputs = 0;
  uint64_t bytes = 0;
  for (size_t i = 0; i < 3; ++i) {
    push.w[i] = matrices[std::min(i, matrices.size() - 1)].address;
    if (i < matrices.size()) {
      outputs += matrices[i].rows;
      bytes += matrices[i].size();
    }
    push.n_end[i] = outputs;
  }
  Context& context = builder.context();
  const auto [tile, splits] = choose_matmul(context.device.info(), context.units(), unit,
                                            {input.max_rows, outputs, first.cols});
  push.y = target.address;
  push.y_stride = target.stride;
  push.k_split = divide_up(divide_up(first.cols, splits), tile.k) * tile.k;
  if (splits > 1) {
    push.split_size = input.max_rows * outputs;
    push.y =
        builder.scratch(Scratch::kMatmulSplits, size_t{splits} * push.split_size * sizeof(float));
    push.y_stride = outputs;
  }
  const Pipeline& pipeline =
      builder.pipeline(fmt::format("{}_{}", module_stem(unit), dtype_name(first.dtype)),
                       tile_constants(tile, context.subgroup(), input.row_kind), sizeof push);
  builder.dispatch(pipeline, push,
                   {divide_up(input.max_rows, tile.m), divide_up(outputs, tile.n), splits},
                   {label, bytes, 2 * uint64_t{input.max_rows} * outputs * first.cols});
  if (splits > 1) reduce_splits(builder, input, push, splits, target);
}

}  // namespace

bool use_matmul(ProgramBuilder& builder, const MatvecInput& input,
                std::span<const Matrix> matrices) {
  if (input.max_rows < builder.context().matmul_min_rows || !aligned(input.x)) return false;
  return std::all_of(matrices.begin(), matrices.end(), [](const Matrix& m) {
    return m.dtype != DType::kF32 && m.cols % kGroup == 0;
  });
}

void matmul(ProgramBuilder& builder, std::string_view label, const MatvecInput& input,
            std::span<const Matrix> matrices, Rows target) {
  TANDEM_CHECK(!input.add, "%d rows with a sum to be made first", static_cast<int>(input.max_rows));
  while (!matrices.empty()) {
    const size_t count = matrices_together(matrices);
    dispatch_matmul(builder, label, input, matrices.first(count), target);
    for (const Matrix& m : matrices.first(count)) target.address += m.rows * sizeof(float);
    matrices = matrices.subspan(count);
  }
}

}  // namespace tandem::vulkan
