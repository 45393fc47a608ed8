// SPDX-License-Identifier: Apache-2.0
#include "vulkan/ops/matmul.h"

#include <fmt/format.h>

#include <algorithm>

#include "vulkan/matmul_tuning.h"
#include "vulkan/shaders/include/prefill_params.h"

namespace tandem::vulkan {
namespace {

constexpr uint32_t kGroup = 32;
constexpr uint32_t kMatrixSize = 16;  // see best_unit()

uint32_t divide_up(uint32_t a, uint32_t b) { return (a + b - 1) / b; }

// What multiplies, the stem of its shader's name, and the form of x it reads.
struct Method {
  MatmulUnit unit;
  std::string_view module;
  uint32_t target;
};

Method method_for(const Context& context, DType dtype) {
  const bool quantised = is_quantized(dtype);
  const MatmulUnit best = best_unit(context.device.info(), !quantised);
  switch (std::min(best, context.matmul_limit)) {
    case MatmulUnit::kCooperative: return {MatmulUnit::kCooperative, "matmul_coop", kTargetF16};
    case MatmulUnit::kDot:
      if (quantised) return {MatmulUnit::kDot, "matmul_dot", kTargetQ8};
      break;
    case MatmulUnit::kPlain: break;
  }
  return {MatmulUnit::kPlain, "matmul", kTargetF16};
}

uint32_t source_of(const MatvecInput& input) {
  if (input.gated) return kSourceGeglu;
  if (input.add) return kSourceAddNorm;
  return input.norm != 0 ? kSourceNorm : kSourceCopy;
}

// Rows as the tiles read them. Those of a part of the last tile are there, but not written.
struct Prepared {
  VkDeviceAddress x = 0, scale = 0;
};

size_t row_size(uint32_t target, uint32_t width) {
  return size_t{width} * (target == kTargetQ8 ? 1 : 2);
}
size_t row_scale_size(uint32_t target, uint32_t width) {
  return target == kTargetQ8 ? width / kGroup * 8 : 4;
}

Prepared prepare_rows(ProgramBuilder& builder, const MatvecInput& input, const Method& method,
                      uint32_t width) {
  const uint32_t tile = matmul_tiles(method.unit)[0].m;
  const size_t rows = size_t{divide_up(input.max_rows, tile)} * tile;
  const Prepared prepared = {
      builder.scratch(Scratch::kMatmulX, rows * row_size(method.target, width)),
      builder.scratch(Scratch::kMatmulScale, rows * row_scale_size(method.target, width))};
  const PrepareRowsParams push{.batch = builder.batch(),
                               .x = input.x.address,
                               .weight = input.norm,
                               .add = input.add ? input.add->y : 0,
                               .add_norm = input.add ? input.add->weight : 0,
                               .sum = input.sum.address,
                               .y = prepared.x,
                               .scale = prepared.scale,
                               .width = width,
                               .x_stride = input.x.stride,
                               .epsilon = input.epsilon,
                               .inverse_width = 1 / static_cast<float>(width)};
  const Pipeline& pipeline =
      builder.pipeline("prepare_rows",
                       {{kSpecWorkgroup, builder.context().tuning.norm_workgroup},
                        {kSpecSource, source_of(input)},
                        {kSpecTarget, method.target},
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

// A product of matrices of one type.
struct Product {
  const Method& method;
  std::span<const Matrix> matrices;
  MatmulParams push{};
  DispatchCost cost;

  uint32_t outputs() const { return push.n_end[2]; }
  std::string module() const {
    return fmt::format("{}_{}", method.module, dtype_name(matrices[0].dtype));
  }
};

Product product_of(ProgramBuilder& builder, const MatvecInput& input, const Method& method,
                   std::span<const Matrix> matrices, Rows target) {
  const Matrix& first = matrices[0];
  const Prepared prepared = prepare_rows(builder, input, method, first.cols);
  Product product{method, matrices, {}, {}};
  MatmulParams& push = product.push;
  push.batch = builder.batch();
  push.x = prepared.x;
  push.scale = prepared.scale;
  push.y = target.address;
  push.y_stride = target.stride;
  push.k = first.cols;
  push.row_size = first.row_size;
  uint32_t outputs = 0;
  for (size_t i = 0; i < 3; ++i) {
    push.w[i] = matrices[std::min(i, matrices.size() - 1)].address;
    if (i < matrices.size()) {
      outputs += matrices[i].rows;
      product.cost.bytes += matrices[i].size();
    }
    push.n_end[i] = outputs;
  }
  product.cost.operations = 2 * uint64_t{input.max_rows} * outputs * first.cols;
  return product;
}

MatmulChoice choose_tiles(const Context& context, MatmulUnit unit, const MatmulShape& shape) {
  return choose_matmul(context.device.info(), context.units(), unit, shape);
}

void dispatch_tiles(ProgramBuilder& builder, const MatvecInput& input, const Product& product,
                    size_t target_size) {
  Context& context = builder.context();
  MatmulParams push = product.push;
  const uint32_t outputs = product.outputs();
  const Rows target = {push.y, push.y_stride};
  const auto [tile, splits] =
      choose_tiles(context, product.method.unit, {input.max_rows, outputs, push.k});
  push.k_split = divide_up(divide_up(push.k, splits), tile.k) * tile.k;
  if (splits > 1) {
    push.split_size = input.max_rows * outputs;
    const size_t size = size_t{splits} * push.split_size * sizeof(float);
    if (target.stride != outputs || target_size < size)
      push.y = builder.scratch(Scratch::kMatmulSplits, size);
    push.y_stride = outputs;
  }
  const Pipeline& pipeline = builder.pipeline(
      product.module(), tile_constants(tile, context.subgroup(), input.row_kind), sizeof push);
  builder.dispatch(pipeline, push,
                   {divide_up(input.max_rows, tile.m), divide_up(outputs, tile.n), splits},
                   product.cost);
  if (splits > 1) reduce_splits(builder, input, push, splits, target);
}

}  // namespace

bool use_tiles(ProgramBuilder& builder, const MatvecInput& input,
               std::span<const Matrix> matrices) {
  if (input.max_rows < builder.context().matmul_min_rows || !input.x.aligned()) return false;
  return std::all_of(matrices.begin(), matrices.end(), [](const Matrix& m) {
    return m.dtype != DType::kF32 && m.cols % kGroup == 0;
  });
}

void matmul(ProgramBuilder& builder, std::string_view label, const MatvecInput& input,
            std::span<const Matrix> matrices, Rows target, size_t size) {
  while (!matrices.empty()) {
    const size_t count = matrices_together(matrices);
    const std::span<const Matrix> together = matrices.first(count);
    const Method method = method_for(builder.context(), together[0].dtype);
    Product product = product_of(builder, input, method, together, target);
    product.cost.label = label;
    dispatch_tiles(builder, input, product, size);
    for (const Matrix& m : together) target.address += m.rows * sizeof(float);
    matrices = matrices.subspan(count);
  }
}

size_t matmul_size(ProgramBuilder& builder, const MatvecInput& input,
                   std::span<const Matrix> matrices) {
  uint32_t outputs = 0;
  for (const Matrix& m : matrices) outputs += m.rows;
  const Method method = method_for(builder.context(), matrices[0].dtype);
  // Several dispatches lay their outputs side by side, with gaps in each one's.
  const bool cut = matrices_together(matrices) == matrices.size();
  const uint32_t splits = cut ? choose_tiles(builder.context(), method.unit,
                                             {input.max_rows, outputs, matrices[0].cols})
                                    .splits
                              : 1;
  return size_t{splits} * input.max_rows * outputs * sizeof(float);
}

}  // namespace tandem::vulkan
