// SPDX-License-Identifier: Apache-2.0
#include "hybrid/node_support.h"

#include <fmt/format.h>

#include <algorithm>

namespace tandem {

OpSpec op_spec(const ModelConfig& config, const CoordinatorShape& shape, const Node& node,
               const BlockOp& op, Phase phase, const WeightTypes& types) {
  OpSpec spec;
  spec.op = op.op;
  spec.phase = phase;
  spec.layer = node.layer;
  spec.max_rows = phase == Phase::kDecode ? shape.decode_rows() : shape.max_rows;
  spec.max_outputs = std::min(spec.max_rows, shape.max_outputs);
  spec.max_sequences = shape.sequences;
  spec.on_outputs = op.on_outputs;
  spec.kv = shape.kv;
  for (uint32_t i = 0; i < op.weight_count; ++i)
    spec.weights.types[i] = types.types[op.first_weight + i];
  spec.weights.count = op.weight_count;
  spec.config = &config.layers[node.layer];
  return spec;
}

NodeSupport node_support(const Backend& backend, const ModelConfig& config,
                         const CoordinatorShape& shape, const Node& node,
                         std::span<const Phase> phases, const WeightTypes& types) {
  const auto refusal = [&](std::span<const BlockOp> ops) -> std::string {
    for (const BlockOp& op : ops)
      for (Phase phase : phases) {
        const Support support = backend.supports(op_spec(config, shape, node, op, phase, types));
        if (!support.ok) return fmt::format("{}: {}", op_info(op.op).name, support.reason);
      }
    return {};
  };
  const std::span<const BlockOp> whole(&node_op(node.op), 1);
  const std::string why_not_whole = refusal(whole);
  if (why_not_whole.empty()) return {whole, {}};
  const std::span<const BlockOp> parts = node_primitives(node.op);
  const std::string why_not_parts = refusal(parts);
  if (why_not_parts.empty()) return {parts, {}};
  return {{}, why_not_whole + "; " + why_not_parts};
}

}  // namespace tandem
