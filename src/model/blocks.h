// The model, once: which operands each node works on, and the primitives each node consists of.
// Devices run nodes whole or primitive by primitive; none knows the order of Gemma 3's layers.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "backend/op.h"

namespace tandem {

// The tensors that ops pass to each other. One of each serves all layers, but for the KV cache,
// which has its own per layer.
enum class Operand : uint8_t {
  kX,         // residual [R, hidden]
  kQkv,       // [R, q | k | v]
  kAttended,  // [R, q width]
  kLogits,    // [O, vocab]
  kIds,       // [O, 1] i32, or [rounds, O]
  kK,
  kV,
  kKScale,
  kVScale,
  // Scratch inside a node, never crossing devices.
  kNormed,     // [R, hidden]
  kProjected,  // [R, hidden]
  kGateUp,     // [R, 2 ffn]
  kGated,      // [R, ffn]
  kGathered,
  kGatheredNormed,  // [O, hidden]
};
inline constexpr uint32_t kOperandCount = 15;

constexpr bool is_kv(Operand o) { return o >= Operand::kK && o <= Operand::kVScale; }
constexpr bool is_scratch(Operand o) { return o >= Operand::kNormed; }
constexpr bool counts_outputs(Operand o) {
  return o == Operand::kLogits || o == Operand::kIds || o == Operand::kGathered ||
         o == Operand::kGatheredNormed;
}
// Elements in a row of an operand that is not part of the KV cache.
uint32_t operand_width(Operand operand, const LayerConfig& config);

// One op with its operands (written first) and which of the node's weights it takes.
struct BlockOp {
  Op op;
  std::vector<Operand> operands;
  uint8_t first_weight = 0, weight_count = 0;
  bool on_outputs = false;
};

// The node as a device takes it whole.
const BlockOp& node_op(Op node);
// The same node as primitives. kEmbed, kArgmax and kTopK are their own primitives.
std::span<const BlockOp> node_primitives(Op node);

// The nodes of a forward pass in order: embed, (qkv, core, out, ffn) per layer, head.
struct Node {
  Op op;
  uint16_t layer = 0;
};
std::vector<Node> forward_pass(uint32_t layer_count);
// Whether a node belongs to a layer: all but embed, head and what follows it.
constexpr bool in_layer(Op node) { return node >= Op::kQkv && node <= Op::kFfn; }
std::string node_name(const Node& node);  // for messages: "head", "ffn of layer 3"

}  // namespace tandem
