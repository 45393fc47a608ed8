// The nodes that read and write the residual stream: qkv, out, ffn, head. Their sums into the
// stream are put off to the next of them (ProgramBuilder::set_pending).
// SPDX-License-Identifier: Apache-2.0
#include "vulkan/ops/matmul.h"
#include "vulkan/ops/ops.h"

namespace tandem::vulkan {
namespace {

// Products that wait for their norm and their sum lie as the rows of the stream do.
Rows product_rows(ProgramBuilder& builder, const Node& node, Rows home) {
  return {
      builder.scratch(Scratch::kProduct, size_t{node.spec.max_rows} * home.stride * sizeof(float)),
      home.stride};
}

}  // namespace

// rows: qkv, x. Weights: norm, q, k, v.
void record_qkv(ProgramBuilder& builder, const Node& node) {
  const VulkanWeights& w = *node.weights;
  const MatvecInput input = stream_input(builder, node, node.rows[1], w.vector(0));
  matvec(builder, "qkv", input, w.parts(1, 3), node.rows[0]);
}

// rows: x, attention's result. Weights: o, norm.
void record_attention_out(ProgramBuilder& builder, const Node& node) {
  const VulkanWeights& w = *node.weights;
  const Rows home = node.rows[0];
  builder.stream(node, home);
  // Nothing may be pending twice; the qkv node of a full layer has made the sum already.
  if (builder.pending()) builder.settle();
  MatvecInput input;
  input.x = node.rows[1];
  input.max_rows = node.spec.max_rows;
  const Rows product = product_rows(builder, node, home);
  matvec(builder, "out", input, w.parts(0), product);
  builder.set_pending(home, {product.address, w.vector(1).address, node.spec.config->norm_epsilon});
}

// rows: x. Weights: norm, gate, up, down, post_norm.
void record_ffn(ProgramBuilder& builder, const Node& node) {
  const VulkanWeights& w = *node.weights;
  const LayerConfig& config = *node.spec.config;
  const Rows home = node.rows[0];
  const MatvecInput first = stream_input(builder, node, home, w.vector(0));
  const std::span<const Matrix> gate_up = w.parts(1, 2), down = w.parts(3);
  MatvecInput input;
  input.max_rows = node.spec.max_rows;
  if (use_tiles(builder, first, gate_up) && use_tiles(builder, input, down)) {
    // Tiles gate as they read: the hidden layer itself is never written.
    input.gated = true;
    const size_t size = matmul_size(builder, first, gate_up);
    input.x = {builder.scratch(Scratch::kGateUp, size), 2 * config.ffn};
    matmul(builder, "gate_up", first, gate_up, input.x, size);
  } else {
    input.x = {
        builder.scratch(Scratch::kHidden, size_t{node.spec.max_rows} * config.ffn * sizeof(float)),
        config.ffn};
    matvec_geglu(builder, first, gate_up, input.x);
  }
  const Rows product = product_rows(builder, node, home);
  matvec(builder, "down", input, down, product);
  builder.set_pending(home, {product.address, w.vector(4).address, config.norm_epsilon, true});
}

// rows: logits, x. Weights: norm, token_embd.
void record_head(ProgramBuilder& builder, const Node& node) {
  const VulkanWeights& w = *node.weights;
  MatvecInput input = stream_input(builder, node, node.rows[1], w.vector(0));
  input.row_kind = kRowsGathered;
  matvec(builder, "head", input, w.parts(1), node.rows[0]);
}

}  // namespace tandem::vulkan
