// What a node asks of a device: its OpSpecs, and whether the device takes it whole or in parts.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>

#include "backend/backend.h"
#include "hybrid/coordinator.h"
#include "model/blocks.h"
#include "model/config.h"

namespace tandem {

// One op of a node (node_op() or one of node_primitives()) as a coordinator of this shape asks for
// it. `types` are those of all the node's weights. The spec points into `config`.
OpSpec op_spec(const ModelConfig& config, const CoordinatorShape& shape, const Node& node,
               const BlockOp& op, Phase phase, const WeightTypes& types);

// How a device takes a node.
struct NodeSupport {
  std::span<const BlockOp> ops;  // the node whole, or its primitives; empty when it takes neither
  std::string reason;            // why neither, as a clause
};

// Whole where the device supports it for all of `phases`, else as primitives.
NodeSupport node_support(const Backend& backend, const ModelConfig& config,
                         const CoordinatorShape& shape, const Node& node,
                         std::span<const Phase> phases, const WeightTypes& types);

}  // namespace tandem
