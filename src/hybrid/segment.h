// The coordinator's bookkeeping: loaded nodes, and runs of nodes on one device.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "hybrid/coordinator.h"

namespace tandem {

// Owner of memory that no device has written since the host did.
inline constexpr uint32_t kHost = UINT32_MAX;

// One op of a node, ready on a device.
struct LoadedOp {
  const BlockOp* block;
  std::unique_ptr<Weights> weights;                // null for ops without
  std::array<std::unique_ptr<Kernel>, 2> kernels;  // by phase; null where not planned
};

struct Coordinator::Loaded {
  size_t node;
  uint32_t device;
  std::vector<LoadedOp> ops;
};

struct Coordinator::Segment {
  explicit Segment(uint32_t on) : device(on) {}

  // Records what `op` reads from before the segment and what it writes.
  void note_operands(const BlockOp& op, uint16_t layer) {
    const OpInfo& info = op_info(op.op);
    const auto contains = [](const std::vector<Operand>& list, Operand o) {
      return std::find(list.begin(), list.end(), o) != list.end();
    };
    for (size_t i = 0; i < op.operands.size(); ++i) {
      const Operand operand = op.operands[i];
      if (is_kv(operand)) {
        if (kv_layers.empty() || kv_layers.back() != layer) kv_layers.push_back(layer);
        continue;
      }
      const bool read = i >= info.writes || (i == 0 && info.in_place);
      if (read && !contains(writes, operand) && !contains(reads, operand)) reads.push_back(operand);
    }
    for (size_t i = 0; i < info.writes && i < op.operands.size(); ++i)
      if (!is_kv(op.operands[i]) && !contains(writes, op.operands[i]))
        writes.push_back(op.operands[i]);
    if (nodes == 0) first = fmt_name(op.op, layer);
    last = fmt_name(op.op, layer);
    ++nodes;
  }
  // "qkv[0] to ffn[11]", for messages.
  std::string name() const { return nodes == 1 ? first : first + " to " + last; }

  uint32_t device;
  std::vector<Step> steps;
  std::vector<std::vector<TensorView>> args;  // of each step
  std::unique_ptr<Program> program;
  std::vector<Operand> reads, writes;  // crossing the segment's borders
  std::vector<uint16_t> kv_layers;
  uint32_t nodes = 0;
  std::string first, last;

 private:
  static std::string fmt_name(Op op, uint16_t layer) {
    return std::string(op_info(op).name) + "[" + std::to_string(layer) + "]";
  }
};

struct Coordinator::Schedule {
  std::vector<Segment> segments;
};

}  // namespace tandem
