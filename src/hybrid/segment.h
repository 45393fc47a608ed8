// Runs of consecutive nodes on one device: what they compute, what crosses their borders, and
// what they cost.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "hybrid/slot.h"
#include "hybrid/step.h"
#include "model/blocks.h"
#include "model/weights.h"

namespace tandem {

// One op of a node, ready on a device.
struct LoadedOp {
  const BlockOp* block;
  std::unique_ptr<Weights> weights;                // null for ops without
  std::array<std::unique_ptr<Kernel>, 2> kernels;  // by phase; null where not planned
};

// A node's weights on a device.
struct LoadedNode {
  size_t node;
  uint32_t device;
  std::vector<LoadedOp> ops;
};

// The least traffic and arithmetic of nodes, as functions of a step's size.
struct SegmentCost {
  uint64_t weight_bytes = 0;  // read once, whatever the step's size
  uint64_t row_bytes = 0, output_bytes = 0;
  uint64_t row_operations = 0, output_operations = 0;  // multiply-adds times two
  struct Cache {
    uint64_t bytes = 0;       // of one position, keys and values
    uint64_t operations = 0;  // of one row with one position
  };
  std::vector<Cache> caches;  // by distinct window, as Slot::window_uses()

  void add(const Node& node, const NodeWeights& weights, const ModelConfig& config, DType kv);
  uint64_t bytes(const Slot& slot) const;
  uint64_t operations(const Slot& slot) const;
};

struct Segment {
  Segment(uint32_t on, size_t from, size_t window_count) : device(on), first_node(from) {
    cost.caches.resize(window_count);
  }

  // Appends a node's operands to the lists of what the segment reads and writes.
  void note_operands(const Node& node);
  // "qkv[0] to ffn[11]", for messages and traces.
  std::string name() const { return nodes == 1 ? first : first + " to " + last; }

  uint32_t device;
  std::vector<std::unique_ptr<Program>> programs;  // by slot
  size_t first_node = 0;                           // of the pass
  uint32_t nodes = 0, plan_nodes = 0;              // all, and without kArgmax
  bool outputs_only = true;            // all its nodes work on outputs: nothing to do without any
  bool first_on_device = true;         // the batch buffer must be handed to the device
  std::vector<Operand> reads, writes;  // crossing the segment's borders
  std::vector<Operand> acquires, releases;  // of those, what another device wrote or will read
  SegmentCost cost;
  std::string first, last;
  uint16_t first_layer = 0, last_layer = 0;
};

// The segments of a phase and tail, in order.
struct Schedule {
  std::vector<Segment> segments;

  // Fills in what moves between the segments' devices, and from the last writer of `result` to
  // the host. An operand that a device holds already is not handed to it again.
  void plan_transfers(Operand result);
};

}  // namespace tandem
