// SPDX-License-Identifier: Apache-2.0
#include "vulkan/ops/matvec.h"

#include <fmt/format.h>

#include <algorithm>

#include "vulkan/ops/matmul.h"

namespace tandem::vulkan {
namespace {

constexpr uint32_t kGroup = 32;
constexpr size_t kReduceMemory = 2048;  // subgroup_sums of prepare_x.glsl, at most

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
  if (!input.add) return kPrologueNorm;
  return input.add->ends_layer ? kPrologueAddNorm : kPrologueAddInNorm;
}

// Whether there are several rows that prepare.comp can read.
bool has_few_rows(const MatvecInput& input, const Matrix& matrix) {
  return input.max_rows > 1 && input.x.aligned() && matrix.cols % kGroup == 0;
}

// The rows as several are multiplied together, made in a dispatch of their own.
MatvecInput prepare(ProgramBuilder& builder, const MatvecInput& input, const Matrix& matrix) {
  constexpr uint32_t kMostTogether = 8;  // each takes registers
  const bool as_floats = is_float(matrix.dtype);
  const uint32_t groups = matrix.cols / kGroup;
  MatvecInput ready;
  ready.max_rows = input.max_rows;
  ready.row_kind = input.row_kind == kRowsAll ? kRowsAll : kRowsOutputs;
  ready.together = std::min(input.max_rows, kMostTogether);
  const uint32_t rows = divide_up(input.max_rows, ready.together) * ready.together;
  ready.x.stride = as_floats ? matrix.cols : divide_up(groups * kPreparedGroupBytes, 16) * 4;
  ready.x.address =
      builder.scratch(Scratch::kPrepared, size_t{rows} * ready.x.stride * sizeof(float));
  const PrepareParams push{.batch = builder.batch(),
                           .x = input.x.address,
                           .add = input.add ? input.add->y : 0,
                           .add_norm = input.add ? input.add->weight : 0,
                           .norm = input.norm,
                           .x_target = input.sum.address,
                           .target = ready.x.address,
                           .x_stride = input.x.stride,
                           .target_stride = ready.x.stride,
                           .epsilon = input.epsilon,
                           .inverse_width = 1 / static_cast<float>(matrix.cols),
                           .chain = {}};
  const uint32_t workgroup = builder.context().tuning.norm_workgroup;
  const uint32_t parts = divide_up(groups * 4, workgroup);  // invocations take eight elements
  const bool whole = input.norm != 0;
  const Pipeline& pipeline = builder.pipeline("prepare",
                                              {{kSpecWorkgroup, workgroup},
                                               {kSpecGroups, groups},
                                               {kSpecPrologue, prologue_of(input)},
                                               {kSpecAsFloats, as_floats ? 1u : 0u},
                                               {kSpecQuads, whole ? 2 * parts : 2},
                                               {kSpecRowKind, input.row_kind},
                                               {kSpecChained, builder.chained() ? 1u : 0u}},
                                              sizeof push);
  builder.dispatch(pipeline, push, {whole ? 1 : parts, input.max_rows, 1},
                   {"prepare", uint64_t{5} * matrix.cols * input.max_rows, 0});
  return ready;
}

// What precedes the product with matrices of one type, where it takes dispatches of its own.
MatvecInput made_ready(ProgramBuilder& builder, const MatvecInput& input, const Matrix& matrix) {
  if (has_few_rows(input, matrix)) return prepare(builder, input, matrix);
  return is_float(matrix.dtype) ? materialize(builder, input, matrix.cols) : input;
}

// Registers that 32 weights take: the Block of dequant_*.glsl.
uint32_t group_words(DType dtype) {
  switch (dtype) {
    case DType::kQ4_0: return 5;
    case DType::kQ6K: return 8;
    case DType::kQ4K:
    case DType::kQ8_0: return 9;
    case DType::kF32: return 32;
    default: return 16;
  }
}

// Whether x is in shared memory beside `partials` floats: where the shader makes it there itself,
// or where it fits.
bool is_staged(const Context& context, const MatvecInput& input, uint32_t groups,
               uint32_t partials) {
  if (input.together == 1) return true;
  const size_t size = size_t{input.together} * groups * kPreparedGroupBytes;
  return size <= context.tuning.few_staged && size + partials * sizeof(float) + kReduceMemory <=
                                                  context.device.info().shared_memory_size;
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
  push.inverse_width = 1 / static_cast<float>(matrices[0].cols);
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
  const uint32_t per_unit = input.together > 1 ? tuning.few_per_unit : tuning.matvec_per_unit;
  const uint32_t grid = std::min(context.units() * per_unit, outputs);
  const MatvecShape shape =
      choose_shape(tuning, context.subgroup(),
                   {outputs, groups, pairs, input.together, group_words(first.dtype)}, grid);
  const uint32_t partials = shape.splits == 1 ? 1
                                              : divide_up(outputs, grid) * shape.splits *
                                                    (pairs ? 2 : 1) * input.together;
  const bool quantised = !is_float(first.dtype);
  const bool staged = quantised && is_staged(context, input, groups, partials);
  const bool ready = input.together > 1;
  const Pipeline& pipeline = builder.pipeline(
      fmt::format("matvec_{}", dtype_name(first.dtype)),
      {{kSpecWorkgroup, shape.workgroup},
       {kSpecGroups, groups},
       {kSpecPrologue, ready ? kPrologueReady : prologue_of(input)},
       {kSpecPairs, pairs ? 1u : 0u},
       {kSpecLanes, shape.lanes},
       {kSpecUnroll, shape.unroll},
       {kSpecSplits, shape.splits},
       {kSpecQuads, quantised && !ready ? 2 * divide_up(groups * 4, shape.workgroup) : 2},
       {kSpecPartials, partials},
       {kSpecRowKind, input.row_kind},
       {kSpecRun, outputs / grid},
       {kSpecLongerRuns, outputs % grid},
       {kSpecTogether, input.together},
       {kSpecColumns, shape.columns},
       {kSpecStaged, staged ? 1u : 0u},
       {kSpecChained, builder.chained() ? 1u : 0u}},
      sizeof push);
  builder.dispatch(pipeline, push, {grid, divide_up(input.max_rows, input.together), 1},
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
  if (use_tiles(builder, input, matrices)) return matmul(builder, label, input, matrices, target);
  std::optional<bool> made_for_floats;
  MatvecInput ready;
  while (!matrices.empty()) {
    const Matrix& first = matrices[0];
    if (made_for_floats != is_float(first.dtype)) ready = made_ready(builder, input, first);
    made_for_floats = is_float(first.dtype);
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
    const MatvecInput ready = made_ready(builder, input, gate);
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
