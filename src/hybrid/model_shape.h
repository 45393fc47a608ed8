// What the cost of a model's nodes depends on: its kinds of nodes, the bytes of their weights, and
// the bytes and operations of a step through them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "model/blocks.h"
#include "model/config.h"
#include "model/weights.h"

namespace tandem {

// Nodes that cost the same: layers differ in how far their attention sees, in nothing else.
enum class NodeKind : uint8_t { kEmbed, kQkv, kCoreWindowed, kCoreGlobal, kOut, kFfn, kHead };
inline constexpr uint32_t kNodeKindCount = 7;

// `global`: the node's layer attends to all positions.
NodeKind node_kind(Op op, bool global);
Op op_of(NodeKind kind);
std::string_view node_kind_name(NodeKind kind);  // "qkv", "core_windowed"

// A model without its weights' values. Plain data: a cost table keeps it and is then complete.
struct ModelShape {
  std::string name;
  DType kv = DType::kF16;
  std::vector<bool> global;  // per layer
  bool tied = false;         // embedding and head are one table
  uint32_t hidden = 0, ffn = 0, heads = 0, kv_heads = 0, head_dim = 0, vocab = 0;
  uint32_t window = 0;                                  // of the windowed layers
  std::array<uint64_t, kNodeKindCount> weight_bytes{};  // in the file, mean over the kind's nodes

  uint32_t layer_count() const { return static_cast<uint32_t>(global.size()); }
  uint32_t q_width() const { return heads * head_dim; }
  uint32_t kv_width() const { return kv_heads * head_dim; }
  uint32_t qkv_width() const { return q_width() + 2 * kv_width(); }
  std::vector<NodeKind> nodes() const;  // in the order of forward_pass()
  uint64_t kv_position_size() const;    // bytes of one position in one layer's cache
  ModelConfig config() const;           // of these sizes, to ask what memory they take
};

// Of a file, and of a published size in Q4_0 with the head that llama-quantize gives it.
ModelShape shape_of(const ModelConfig& config, const ModelWeights& weights, DType kv);
ModelShape shape_of(const PublishedSize& size, DType kv);

// One step through one node.
struct NodeWork {
  double weight_bytes = 0;       // read once a step, or the rows looked up
  double activation_bytes = 0;   // read and written, f32
  double cache_bytes = 0;        // keys and values, read once a step and written
  double matrix_operations = 0;  // multiply-adds times two
  double attention_operations = 0;

  double bytes() const { return weight_bytes + activation_bytes + cache_bytes; }
};

// Prefill: `rows` of one sequence after `position` others; the head works on one row. Decode: one
// row for each of `rows` sequences at `position`.
NodeWork work_of(const ModelShape& shape, NodeKind kind, Phase phase, uint32_t rows,
                 uint32_t position);

// Bytes a step of `rows` rows hands from a node to the next, where that runs on another device: the
// residual stream and what the node wrote for the next.
double handed_over(const ModelShape& shape, NodeKind from, uint32_t rows);

}  // namespace tandem
