// The ends of a step: embedding, output rows, argmax and top-k, and the way from ids to tokens.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "vulkan/ops/ops.h"

namespace tandem::vulkan {
namespace {

constexpr uint32_t kRowWorkgroup = 64;
constexpr uint32_t kTopKWorkgroup = 256;
constexpr uint32_t kLeastPart = 2048;  // values a workgroup of top_k reads at least

// How ids are laid out: [outputs, k], or [rounds, outputs] for argmax.
struct IdStrides {
  uint32_t round = 0, output = 0;
};

IdStrides id_strides(const Node& node) {
  const TensorView& ids = node.views[0];
  const uint32_t row = static_cast<uint32_t>(ids.strides[1] / sizeof(uint32_t));
  return node.spec.op == Op::kArgmax ? IdStrides{row, 1} : IdStrides{0, row};
}

}  // namespace

// rows: x. Weights: the table.
void record_embed(ProgramBuilder& builder, const Node& node) {
  EmbedParams push{};
  push.batch = builder.batch();
  push.x = node.rows[0].address;
  push.x_stride = node.rows[0].stride;
  push.scale = node.spec.config->embedding_scale;
  for (const Matrix& table : node.weights->parts(0)) {
    push.table = table.address;
    push.row_size = table.row_size;
    push.width = table.cols;
    push.table_rows = table.rows;
    builder.dispatch(
        builder.pipeline(fmt::format("embed_{}", dtype_name(table.dtype)),
                         {{kSpecWorkgroup, kRowWorkgroup}}, sizeof push),
        push, {node.spec.max_rows, 1, 1},
        {"embed", uint64_t{node.spec.max_rows} * (table.row_size + table.cols * sizeof(float)), 0});
    push.first_token += table.rows;
  }
}

// rows: y, x.
void record_gather(ProgramBuilder& builder, const Node& node) {
  GatherParams push{};
  push.batch = builder.batch();
  push.target = node.rows[0].address;
  push.target_stride = node.rows[0].stride;
  push.x = node.rows[1].address;
  push.x_stride = node.rows[1].stride;
  push.width = node.views[0].cols();
  builder.dispatch(builder.pipeline("gather", {{kSpecWorkgroup, kRowWorkgroup}}, sizeof push), push,
                   {node.spec.max_outputs, 1, 1},
                   {"gather", uint64_t{2} * node.spec.max_outputs * push.width * sizeof(float), 0});
}

// Arguments: ids, (values,) logits.
void record_top_k(ProgramBuilder& builder, const Node& node) {
  const bool with_values = node.spec.op == Op::kTopK;
  const size_t logits = with_values ? 2 : 1;
  const TensorView& view = node.views[logits];
  const IdStrides ids = id_strides(node);
  TopKParams push{};
  push.batch = builder.batch();
  push.values = node.addresses[logits];
  push.n = view.cols();
  push.stride = static_cast<uint32_t>(view.strides[1] / sizeof(float));
  push.ids = node.addresses[0];
  push.round_stride = ids.round;
  push.output_stride = ids.output;
  const uint32_t k = with_values ? node.views[0].cols() : 1;
  if (with_values) {
    push.largest = node.addresses[1];
    push.largest_stride = static_cast<uint32_t>(node.views[1].strides[1] / sizeof(float));
  }
  const uint32_t units = builder.context().units();
  const uint32_t parts = std::clamp(push.n / std::max(kLeastPart, k), 1u, units);
  const size_t outputs = node.spec.max_outputs;
  push.scratch =
      builder.scratch(Scratch::kTopK, outputs * (size_t{parts} * k * 8 + sizeof(uint32_t)), true);
  builder.dispatch(
      builder.pipeline("top_k", {{kSpecWorkgroup, kTopKWorkgroup}, {kSpecCount, k}}, sizeof push),
      push, {parts, node.spec.max_outputs, 1},
      {with_values ? "top_k" : "argmax", outputs * push.n * sizeof(float), 0});
}

void record_advance(ProgramBuilder& builder, const Node& top_k, uint32_t counter_words) {
  const IdStrides ids = id_strides(top_k);
  AdvanceParams push{};
  push.batch = builder.batch();
  push.ids = top_k.addresses[0];
  push.round_stride = ids.round;
  push.output_stride = ids.output;
  push.counters = builder.counters();
  push.counter_words = builder.chained() ? counter_words : 0;
  builder.dispatch(builder.pipeline("advance", {{kSpecWorkgroup, kRowWorkgroup}}, sizeof push),
                   push, {1, 1, 1}, {"advance", 0, 0});
}

}  // namespace tandem::vulkan
