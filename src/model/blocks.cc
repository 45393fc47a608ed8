// SPDX-License-Identifier: Apache-2.0
#include "model/blocks.h"

#include <array>

#include "base/check.h"

namespace tandem {
namespace {

struct Block {
  BlockOp whole;
  std::vector<BlockOp> primitives;
};

// Pre-norm and post-norm ("sandwich") around attention and around the gated FFN, QK-norm before
// RoPE: Gemma 3 technical report (arXiv 2503.19786) and google/gemma_pytorch's model.py.
const std::array<Block, 7>& blocks() {
  using enum Operand;
  static const std::array<Block, 7> table = {{
      {{Op::kEmbed, {kX}, 0, 1}, {{Op::kEmbed, {kX}, 0, 1}}},
      {{Op::kQkv, {kQkv, kX}, 0, 4},
       {{Op::kRmsNorm, {kNormed, kX}, 0, 1}, {Op::kMatmul, {kQkv, kNormed}, 1, 3}}},
      {{Op::kAttnCore, {kAttended, kK, kV, kKScale, kVScale, kQkv}, 0, 2},
       {{Op::kQkNormRope, {kQkv, kK, kV, kKScale, kVScale}, 0, 2},
        {Op::kAttention, {kAttended, kK, kV, kKScale, kVScale, kQkv}}}},
      {{Op::kAttnOut, {kX, kAttended}, 0, 2},
       {{Op::kMatmul, {kProjected, kAttended}, 0, 1}, {Op::kRmsNormAdd, {kX, kProjected}, 1, 1}}},
      {{Op::kFfn, {kX}, 0, 5},
       {{Op::kRmsNorm, {kNormed, kX}, 0, 1},
        {Op::kMatmul, {kGateUp, kNormed}, 1, 2},
        {Op::kGeglu, {kGated, kGateUp}},
        {Op::kMatmul, {kProjected, kGated}, 3, 1},
        {Op::kRmsNormAdd, {kX, kProjected}, 4, 1}}},
      {{Op::kHead, {kLogits, kX}, 0, 2, true},
       {{Op::kGather, {kGathered, kX}, 0, 0, true},
        {Op::kRmsNorm, {kGatheredNormed, kGathered}, 0, 1, true},
        {Op::kMatmul, {kLogits, kGatheredNormed}, 1, 1, true}}},
      {{Op::kArgmax, {kIds, kLogits}, 0, 0, true}, {{Op::kArgmax, {kIds, kLogits}, 0, 0, true}}},
  }};
  return table;
}

const Block& block(Op node) {
  for (const Block& b : blocks())
    if (b.whole.op == node) return b;
  TANDEM_CHECK(false, "op %d is no node", static_cast<int>(node));
}

}  // namespace

uint32_t operand_width(Operand operand, const LayerConfig& c) {
  switch (operand) {
    case Operand::kX:
    case Operand::kNormed:
    case Operand::kProjected:
    case Operand::kGathered:
    case Operand::kGatheredNormed: return c.hidden;
    case Operand::kQkv: return c.qkv_width();
    case Operand::kAttended: return c.q_width();
    case Operand::kGateUp: return 2 * c.ffn;
    case Operand::kGated: return c.ffn;
    case Operand::kLogits: return c.vocab;
    case Operand::kIds: return 1;
    case Operand::kK:
    case Operand::kV:
    case Operand::kKScale:
    case Operand::kVScale: break;
  }
  TANDEM_CHECK(false, "operand %d is part of the KV cache", static_cast<int>(operand));
}

const BlockOp& node_op(Op node) { return block(node).whole; }

std::span<const BlockOp> node_primitives(Op node) { return block(node).primitives; }

std::vector<Node> forward_pass(uint32_t layer_count) {
  std::vector<Node> nodes = {{Op::kEmbed}};
  for (uint32_t layer = 0; layer < layer_count; ++layer)
    for (Op op : {Op::kQkv, Op::kAttnCore, Op::kAttnOut, Op::kFfn})
      nodes.push_back({op, static_cast<uint16_t>(layer)});
  nodes.push_back({Op::kHead});
  return nodes;
}

std::string node_name(const Node& node) {
  std::string name(op_info(node.op).name);
  if (in_layer(node.op)) name += " of layer " + std::to_string(node.layer);
  return name;
}

}  // namespace tandem
