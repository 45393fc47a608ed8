// SPDX-License-Identifier: Apache-2.0
#include "hybrid/model_shape.h"

#include <algorithm>
#include <string_view>

#include "base/check.h"
#include "gguf/type_choice.h"
#include "model/kv_cache.h"

namespace tandem {
namespace {

struct KindInfo {
  Op op;
  std::string_view name;
};
constexpr std::array<KindInfo, kNodeKindCount> kKinds = {{{Op::kEmbed, "embed"},
                                                          {Op::kQkv, "qkv"},
                                                          {Op::kAttnCore, "core_windowed"},
                                                          {Op::kAttnCore, "core_global"},
                                                          {Op::kAttnOut, "out"},
                                                          {Op::kFfn, "ffn"},
                                                          {Op::kHead, "head"}}};

size_t index(NodeKind kind) { return static_cast<size_t>(kind); }

ModelShape without_weights(const LayerConfig& layer, DType kv) {
  ModelShape shape;
  shape.kv = kv;
  shape.hidden = layer.hidden;
  shape.ffn = layer.ffn;
  shape.heads = layer.heads;
  shape.kv_heads = layer.kv_heads;
  shape.head_dim = layer.head_dim;
  shape.vocab = layer.vocab;
  return shape;
}

// Pairs of a row and a position it attends to.
double visible_pairs(const ModelShape& shape, bool global, Phase phase, uint32_t rows,
                     uint32_t position) {
  const double window = global || shape.window == 0 ? 1e18 : shape.window;
  if (phase == Phase::kDecode) return rows * std::min(window, position + 1.0);
  double pairs = 0;
  for (uint32_t row = 0; row < rows; ++row) pairs += std::min(window, position + row + 1.0);
  return pairs;
}

NodeWork core_work(const ModelShape& shape, bool global, Phase phase, uint32_t rows,
                   uint32_t position) {
  NodeWork work;
  const double pairs = visible_pairs(shape, global, phase, rows, position);
  // Sequences have caches of their own; the rows of one sequence share it.
  const double window = global || shape.window == 0 ? 1e18 : shape.window;
  const double read =
      phase == Phase::kDecode ? pairs : std::min(position + double{1} * rows, window + rows);
  work.cache_bytes = (read + rows) * static_cast<double>(shape.kv_position_size());
  work.activation_bytes = 4.0 * rows * (shape.qkv_width() + shape.q_width());
  work.attention_operations = 4.0 * pairs * shape.q_width();
  return work;
}

}  // namespace

NodeKind node_kind(Op op, bool global) {
  if (op == Op::kAttnCore) return global ? NodeKind::kCoreGlobal : NodeKind::kCoreWindowed;
  for (size_t i = 0; i < kKinds.size(); ++i)
    if (kKinds[i].op == op) return static_cast<NodeKind>(i);
  TANDEM_CHECK(false, "op %d is no node of a plan", static_cast<int>(op));
}

Op op_of(NodeKind kind) { return kKinds[index(kind)].op; }

std::string_view node_kind_name(NodeKind kind) { return kKinds[index(kind)].name; }

std::vector<NodeKind> ModelShape::nodes() const {
  std::vector<NodeKind> kinds;
  for (const Node& node : forward_pass(layer_count()))
    kinds.push_back(node_kind(node.op, global[node.layer]));
  return kinds;
}

uint64_t ModelShape::kv_position_size() const { return tandem::kv_position_size(kv_width(), kv); }

ModelConfig ModelShape::config() const {
  ModelConfig config;
  config.name = name;
  config.vocab = vocab;
  LayerConfig layer;
  layer.hidden = hidden;
  layer.ffn = ffn;
  layer.heads = heads;
  layer.kv_heads = kv_heads;
  layer.head_dim = head_dim;
  layer.vocab = vocab;
  for (bool is_global : global) {
    layer.window = is_global ? 0 : window;
    config.layers.push_back(layer);
  }
  return config;
}

ModelShape shape_of(const ModelConfig& config, const ModelWeights& weights, DType kv) {
  ModelShape shape = without_weights(config.common(), kv);
  shape.name = config.name;
  shape.tied = weights.tied();
  for (const LayerConfig& layer : config.layers) {
    shape.global.push_back(layer.window == 0);
    shape.window = std::max(shape.window, layer.window);
  }
  std::array<uint64_t, kNodeKindCount> counts{};
  for (const Node& node : forward_pass(shape.layer_count())) {
    const size_t kind = index(node_kind(node.op, shape.global[node.layer]));
    shape.weight_bytes[kind] += weights.node(node.op, node.layer).size();
    ++counts[kind];
  }
  for (size_t kind = 0; kind < kNodeKindCount; ++kind)
    shape.weight_bytes[kind] /= std::max<uint64_t>(counts[kind], 1);
  return shape;
}

ModelShape shape_of(const PublishedSize& size, DType kv) {
  const ModelConfig config = config_of(size);
  ModelShape shape = without_weights(config.common(), kv);
  shape.name = config.name;
  shape.tied = true;
  for (const LayerConfig& layer : config.layers) shape.global.push_back(layer.window == 0);
  shape.window = size.shape.window;
  const auto matrix = [&](std::string_view name, uint64_t rows, uint64_t cols) {
    return dtype_size(choose_type(DType::kQ4_0, name, size.shape.layers, cols), rows * cols);
  };
  const auto set = [&](NodeKind kind, uint64_t bytes) { shape.weight_bytes[index(kind)] = bytes; };
  const uint64_t head = matrix("token_embd.weight", shape.vocab, shape.hidden);
  set(NodeKind::kEmbed, head);
  set(NodeKind::kHead, head);
  set(NodeKind::kQkv, matrix("blk.0.attn_q.weight", shape.qkv_width(), shape.hidden));
  set(NodeKind::kOut, matrix("blk.0.attn_output.weight", shape.hidden, shape.q_width()));
  set(NodeKind::kFfn, 2 * matrix("blk.0.ffn_up.weight", shape.ffn, shape.hidden) +
                          matrix("blk.0.ffn_down.weight", shape.hidden, shape.ffn));
  return shape;
}

NodeWork work_of(const ModelShape& shape, NodeKind kind, Phase phase, uint32_t rows,
                 uint32_t position) {
  NodeWork work;
  const double weights = static_cast<double>(shape.weight_bytes[index(kind)]);
  const double r = kind == NodeKind::kHead && phase == Phase::kPrefill ? 1 : rows;
  const auto product = [&](double inputs, double outputs, double parameters) {
    work.weight_bytes = weights;
    work.activation_bytes = 4 * r * (inputs + outputs);
    work.matrix_operations = 2 * r * parameters;
  };
  const double hidden = shape.hidden;
  switch (kind) {
    case NodeKind::kEmbed:
      work.weight_bytes = r * weights / shape.vocab;
      work.activation_bytes = 4 * r * hidden;
      break;
    case NodeKind::kCoreWindowed:
    case NodeKind::kCoreGlobal:
      return core_work(shape, kind == NodeKind::kCoreGlobal, phase, rows, position);
    case NodeKind::kQkv: product(hidden, shape.qkv_width(), hidden * shape.qkv_width()); break;
    case NodeKind::kOut: product(shape.q_width(), 2 * hidden, hidden * shape.q_width()); break;
    case NodeKind::kFfn:  // the gate, up and gated rows are written and read back
      product(2 * hidden, 6.0 * shape.ffn, 3 * hidden * shape.ffn);
      break;
    case NodeKind::kHead: product(hidden, shape.vocab, hidden * shape.vocab); break;
  }
  return work;
}

double handed_over(const ModelShape& shape, NodeKind from, uint32_t rows) {
  switch (from) {
    case NodeKind::kQkv: return 4.0 * rows * shape.qkv_width();
    case NodeKind::kCoreWindowed:
    case NodeKind::kCoreGlobal: return 4.0 * rows * (shape.q_width() + shape.hidden);
    default: return 4.0 * rows * shape.hidden;
  }
}

}  // namespace tandem
