// The primitives that are a dispatch of their own.
// SPDX-License-Identifier: Apache-2.0
#include "vulkan/ops/matvec.h"
#include "vulkan/ops/ops.h"

namespace tandem::vulkan {
namespace {

uint32_t active_rows(const OpSpec& spec) {
  return spec.on_outputs ? spec.max_outputs : spec.max_rows;
}

}  // namespace

// rows: y, x. Weights: the matrices.
void record_matmul(ProgramBuilder& builder, const Node& node) {
  MatvecInput input;
  input.x = node.rows[1];
  input.max_rows = active_rows(node.spec);
  input.row_kind = node.spec.on_outputs ? kRowsOutputs : kRowsAll;
  matvec(builder, "matmul", input, node.weights->parts(0, node.spec.weights.count), node.rows[0]);
}

// rows: y, x, or for the adding form x, y. Weights: w.
void record_rms_norm(ProgramBuilder& builder, const Node& node) {
  const bool adds = node.spec.op == Op::kRmsNormAdd;
  Norm norm;
  norm.mode = adds ? kNormAdd : kNormPlain;
  norm.x = node.rows[1];
  norm.weight = node.weights->vector(0).address;
  norm.epsilon = node.spec.config->norm_epsilon;
  if (adds) norm.base = node.rows[0];
  norm.width = node.views[0].cols();
  norm.max_rows = active_rows(node.spec);
  norm.on_outputs = node.spec.on_outputs;
  builder.rms_norm(norm, node.rows[0]);
}

// rows: h, gu.
void record_geglu(ProgramBuilder& builder, const Node& node) {
  geglu(builder, node.rows[1], node.rows[0], node.views[0].cols(), node.spec.max_rows);
}

}  // namespace tandem::vulkan
