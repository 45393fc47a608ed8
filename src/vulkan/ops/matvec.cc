// SPDX-License-Identifier: Apache-2.0
#include "vulkan/ops/matvec.h"

#include <fmt/format.h>

#include <algorithm>

#include "vulkan/ops/matmul.h"

namespace tandem::vulkan {
namespace {

constexpr uint32_t kGroup = 32;

bool is_float(DType dtype) { return !is_quantized(dtype); }

uint32_t divide_up(uint32_t a, uint32_t b) { return (a + b - 1) / b; }

// Makes the pending sum in a dispatch of its own.
MatvecInput with_sum_made(ProgramBuilder& builder, const MatvecInput& input, uint32_t width) {
  if (!input.add) return input;
  builder.rms_norm({.mode = kNormAdd,
                    .x = {input.add->y, input.x.stride},
                    .weight = input.add->weight,
                    .epsilon = input.add->epsilon,
                    .base = input.x,
                    .width = width,
                    .max_rows = input.max_rows},
                   input.sum);
  MatvecInput plain = input;
  plain.x = input.sum;
  plain.add.reset();
  return plain;
}

// Float weights meet x as f32: what precedes the product takes dispatches of its own, and x is
// read from memory, in whole groups.
MatvecInput materialize(ProgramBuilder& builder, const MatvecInput& input, uint32_t width) {
  MatvecInput plain = with_sum_made(builder, input, width);
  if (input.norm == 0 && width % kGroup == 0) return plain;
  const uint32_t padded = divide_up(width, kGroup) * kGroup;
  const Rows normed = {
      builder.scratch(Scratch::kNormed, size_t{input.max_rows} * padded * sizeof(float)), padded};
  builder.rms_norm({.mode = input.norm == 0 ? kNormCopy : kNormPlain,
                    .x = plain.x,
                    .weight = input.norm,
                    .epsilon = input.epsilon,
                    .base = {},
                    .width = width,
                    .max_rows = input.max_rows,
                    .padded_width = padded},
                   normed);
  plain.x = normed;
  plain.norm = 0;
  return plain;
}

uint32_t prologue_of(const MatvecInput& input) {
  if (input.norm == 0) return kPrologueCopy;
  return input.add ? kPrologueAddNorm : kPrologueNorm;
}

// One dispatch over matrices of one type; two with `pairs` are gate and up.
void dispatch_matvec(ProgramBuilder& builder, std::string_view label, const MatvecInput& input,
                     std::span<const Matrix> matrices, bool pairs, Rows target) {
  Context& context = builder.context();
  const Tuning& tuning = context.tuning;
  const Matrix& first = matrices[0];
  MatvecParams push{};
  push.batch = builder.batch();
  push.x = input.x.address;
  push.x_stride = input.x.stride;
  push.norm = input.norm;
  push.epsilon = input.epsilon;
  if (input.add) {
    push.add = input.add->y;
    push.add_norm = input.add->weight;
    push.x_target = input.sum.address;
  }
  push.target = target.address;
  push.target_stride = target.stride;
  push.row_size = first.row_size;
  uint32_t outputs = 0;
  uint64_t bytes = 0;
  for (size_t i = 0; i < 3; ++i) {
    const Matrix& matrix = matrices[std::min(i, matrices.size() - 1)];
    push.w[i] = matrix.address;
    if (i < matrices.size()) {
      outputs += pairs && i > 0 ? 0 : matrix.rows;
      bytes += matrix.size();
    }
    push.n_end[i] = outputs;
  }
  const uint32_t groups = divide_up(first.cols, kGroup);
  const uint32_t grid = std::min(context.units() * tuning.matvec_per_unit, outputs);
  const MatvecShape shape =
      choose_shape(tuning, context.subgroup(), {outputs, groups, pairs}, grid);
  const uint32_t partials =
      shape.splits == 1 ? 1 : divide_up(outputs, grid) * shape.splits * (pairs ? 2 : 1);
  const bool staged = !is_float(first.dtype);
  const Pipeline& pipeline =
      builder.pipeline(fmt::format("matvec_{}", dtype_name(first.dtype)),
                       {{kSpecWorkgroup, shape.workgroup},
                        {kSpecGroups, groups},
                        {kSpecPrologue, prologue_of(input)},
                        {kSpecPairs, pairs ? 1u : 0u},
                        {kSpecLanes, shape.lanes},
                        {kSpecUnroll, shape.unroll},
                        {kSpecSplits, shape.splits},
                        {kSpecQuads, staged ? 2 * divide_up(groups * 4, shape.workgroup) : 2},
                        {kSpecPartials, partials},
                        {kSpecRowKind, input.row_kind},
                        {kSpecRun, outputs / grid},
                        {kSpecLongerRuns, outputs % grid},
                        {kSpecChained, builder.chained() ? 1u : 0u}},
                       sizeof push);
  builder.dispatch(pipeline, push, {grid, input.max_rows, 1},
                   {label, bytes, 2 * uint64_t{input.max_rows} * outputs * first.cols});
}

}  // namespace

MatvecInput stream_input(ProgramBuilder& builder, const Node& node, Rows home, const Matrix& norm) {
  MatvecInput input;
  input.x = builder.stream(node, home);
  input.max_rows = node.spec.max_rows;
  input.norm = norm.address;
  input.epsilon = node.spec.config->norm_epsilon;
  input.add = builder.pending();
  if (input.add) {
    input.sum = builder.other_stream(home, node.spec.max_rows);
    builder.moved_stream(home, input.sum);
  }
  return input;
}

size_t matrices_together(std::span<const Matrix> matrices) {
  matrices = matrices.first(std::min(matrices.size(), std::size(MatvecParams{}.w)));
  const auto other = std::find_if(matrices.begin(), matrices.end(),
                                  [&](const Matrix& m) { return m.dtype != matrices[0].dtype; });
  return static_cast<size_t>(other - matrices.begin());
}

void matvec(ProgramBuilder& builder, std::string_view label, const MatvecInput& input,
            std::span<const Matrix> matrices, Rows target) {
  if (use_matmul(input, matrices)) return matmul(builder, label, input, matrices, target);
  const bool any_float = std::any_of(matrices.begin(), matrices.end(),
                                     [](const Matrix& m) { return is_float(m.dtype); });
  const MatvecInput ready = any_float ? materialize(builder, input, matrices[0].cols) : input;
  while (!matrices.empty()) {
    const size_t count = matrices_together(matrices);
    dispatch_matvec(builder, label, ready, matrices.first(count), false, target);
    for (const Matrix& m : matrices.first(count)) target.address += m.rows * sizeof(float);
    matrices = matrices.subspan(count);
  }
}

void matvec_geglu(ProgramBuilder& builder, const MatvecInput& input,
                  std::span<const Matrix> gate_up, Rows target) {
  const Matrix& gate = gate_up[0];
  if (gate_up.size() == 2 && gate.dtype == gate_up[1].dtype) {
    const MatvecInput ready = is_float(gate.dtype) ? materialize(builder, input, gate.cols) : input;
    dispatch_matvec(builder, "gate_up", ready, gate_up, true, target);
    return;
  }
  uint32_t width = 0;  // of both
  for (const Matrix& part : gate_up) width += part.rows;
  const Rows products = {
      builder.scratch(Scratch::kGateUp, size_t{input.max_rows} * width * sizeof(float)), width};
  matvec(builder, "gate_up", input, gate_up, products);
  geglu(builder, products, target, width / 2, input.max_rows);
}

void geglu(ProgramBuilder& builder, Rows gate_up, Rows target, uint32_t width, uint32_t max_rows) {
  const GegluParams push{builder.batch(), gate_up.address, target.address,
                         width,           gate_up.stride,  target.stride};
  const uint32_t workgroup = builder.context().tuning.norm_workgroup;
  builder.dispatch(builder.pipeline("geglu", {{kSpecWorkgroup, workgroup}}, sizeof push), push,
                   {divide_up(width, workgroup), max_rows, 1},
                   {"geglu", uint64_t{3} * width * sizeof(float) * max_rows, 0});
}

}  // namespace tandem::vulkan
