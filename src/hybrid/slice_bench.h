// A few layers of a model between its embedding and its head, on one device: a pass that can be
// timed whole, with the nodes of an op left out, or cut into programs, as a coordinator would run
// it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "hybrid/coordinator.h"
#include "hybrid/model_shape.h"
#include "hybrid/slot.h"
#include "hybrid/step.h"
#include "model/config.h"
#include "model/kv_cache.h"
#include "model/weights.h"

namespace tandem {

// Layers of a model as a model of its own. Passes through it read more than caches hold, where the
// model does.
struct Slice {
  ModelConfig config;            // layer i is the model's layer layers[i]
  std::vector<uint16_t> layers;  // spread over the model: files mix types by depth
};
// About `wanted` layers, windowed and global ones in the model's own shares, one of each at least.
std::vector<uint16_t> some_layers(const ModelConfig& config, size_t wanted);
Slice slice_of(const ModelConfig& config, const ModelWeights& weights);

// Programs that run one after another.
using Pass = std::vector<std::unique_ptr<Program>>;

class SliceBench {
 public:
  // Loads the nodes that the device supports. All outlive it. Throws as backends do.
  SliceBench(Backend& device, const Slice& slice, const ModelWeights& weights,
             const CoordinatorShape& shape);

  // Why the device cannot run nodes of a kind in a phase; empty where it can.
  const std::string& refusal(NodeKind kind, Phase phase) const {
    return refusals_[static_cast<size_t>(phase)][static_cast<size_t>(kind)];
  }
  // Whether it can run nodes of this op, or some of them.
  bool supports(Op op, Phase phase) const;
  // Nodes of a kind in the slice, and bytes on the device of one such node.
  uint32_t count(NodeKind kind) const { return counts_[static_cast<size_t>(kind)]; }
  uint64_t weight_size(NodeKind kind) const;

  // What the device supports of a pass, in decode with the choice of the token; without the nodes
  // of an op, or each node a program of its own.
  Pass record(Phase phase, std::optional<Op> without);
  Pass record_apart(Phase phase);

  // The step that passes work on from now on: `rows` of one sequence after `position` others, or
  // in decode one row for each of `rows` sequences.
  void set_step(Phase phase, uint32_t rows, uint32_t position);

  // Microseconds of all programs, what each starts and ends with included. The device lies idle for
  // `pause_us` before each, which does not count.
  double run_us(const Pass& pass, uint32_t pause_us = 0);

 private:
  struct LoadedSliceNode {
    Node node;  // of the slice
    NodeKind kind;
    std::span<const BlockOp> ops;
    std::vector<std::unique_ptr<Weights>> weights;                // by op
    std::array<std::vector<std::unique_ptr<Kernel>>, 2> kernels;  // by phase; empty: unsupported
  };
  void load(const Node& node, const ModelWeights& weights);
  const TensorView& view(Operand operand, uint32_t layer) const;
  std::unique_ptr<Program> record_program(Phase phase,
                                          std::span<const LoadedSliceNode* const> nodes);
  std::vector<const LoadedSliceNode*> nodes_of(Phase phase, std::optional<Op> without) const;

  Backend& device_;
  const Slice& slice_;
  CoordinatorShape shape_;
  Slot slot_;
  KvCache kv_;
  std::unique_ptr<SharedMemory> scratch_memory_;
  std::array<TensorView, kOperandCount> scratch_{};
  std::vector<LoadedSliceNode> nodes_;
  std::array<std::array<std::string, kNodeKindCount>, 2> refusals_;  // by phase
  std::array<uint32_t, kNodeKindCount> counts_{};
};

}  // namespace tandem
