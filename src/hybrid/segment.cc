// SPDX-License-Identifier: Apache-2.0
#include "hybrid/segment.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "model/kv_cache.h"

namespace tandem {
namespace {

bool contains(const std::vector<Operand>& list, Operand operand) {
  return std::find(list.begin(), list.end(), operand) != list.end();
}

uint64_t matrix_elements(const NodeWeights& weights) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < weights.count; ++i)
    if (const TensorView view = weights.tensors[i]->view(); view.rows() > 1)
      sum += view.element_count();
  return sum;
}

}  // namespace

void SegmentCost::add(const Node& node, const NodeWeights& weights, const ModelConfig& config,
                      DType kv) {
  const LayerConfig& layer = config.layers[node.layer];
  const BlockOp& op = node_op(node.op);
  uint64_t& per_item = op.on_outputs ? output_bytes : row_bytes;
  const OpInfo& info = op_info(node.op);
  for (size_t i = 0; i < op.operands.size(); ++i) {
    if (is_kv(op.operands[i]) || op.operands[i] == Operand::kIds) continue;
    const uint64_t bytes = uint64_t{operand_width(op.operands[i], layer)} * sizeof(float);
    per_item += bytes * (i == 0 && info.in_place ? 2 : 1);
  }
  if (node.op == Op::kEmbed) {
    row_bytes += weights.size() / config.vocab;
    return;
  }
  weight_bytes += weights.size();
  (op.on_outputs ? output_operations : row_operations) += 2 * matrix_elements(weights);
  if (node.op != Op::kAttnCore) return;
  const std::vector<uint32_t> windows = windows_of(config);
  const auto place = std::find(windows.begin(), windows.end(), layer.window) - windows.begin();
  Cache& cache = caches[static_cast<size_t>(place)];
  const uint64_t position_size = kv_position_size(layer.kv_width(), kv);
  cache.bytes += position_size;
  row_bytes += position_size;
  // A score is one multiply-add per element of a head, a sum of values another.
  cache.operations += 4 * uint64_t{layer.q_width()};
}

uint64_t SegmentCost::bytes(const Slot& slot) const {
  uint64_t sum = slot.row_count() * row_bytes + slot.output_count() * output_bytes + weight_bytes;
  for (size_t i = 0; i < caches.size(); ++i) sum += caches[i].bytes * slot.window_uses()[i].visible;
  return sum;
}

uint64_t SegmentCost::operations(const Slot& slot) const {
  uint64_t sum = slot.row_count() * row_operations + slot.output_count() * output_operations;
  for (size_t i = 0; i < caches.size(); ++i)
    sum += caches[i].operations * slot.window_uses()[i].attended;
  return sum;
}

void Segment::note_operands(const Node& node) {
  const BlockOp& op = node_op(node.op);
  const OpInfo& info = op_info(op.op);
  for (size_t i = 0; i < op.operands.size(); ++i) {
    const Operand operand = op.operands[i];
    const bool read = i >= info.writes || (i == 0 && info.in_place);
    if (!is_kv(operand) && read && !contains(writes, operand) && !contains(reads, operand))
      reads.push_back(operand);
  }
  for (size_t i = 0; i < info.writes && i < op.operands.size(); ++i)
    if (!is_kv(op.operands[i]) && !contains(writes, op.operands[i]))
      writes.push_back(op.operands[i]);
  last = fmt::format("{}[{}]", info.name, node.layer);
  last_layer = node.layer;
  if (nodes == 0) {
    first = last;
    first_layer = last_layer;
  }
  outputs_only = outputs_only && op.on_outputs;
  ++nodes;
  if (node.op != Op::kArgmax) ++plan_nodes;
}

void Schedule::plan_transfers(Operand result) {
  struct Holding {
    std::vector<uint32_t> devices;  // that have the operand's current value
    bool host = false;
    Segment* writer = nullptr;
  };
  std::array<Holding, kOperandCount> holdings;
  const auto holding = [&](Operand o) -> Holding& { return holdings[static_cast<size_t>(o)]; };
  const auto to_host = [](Holding& h, Operand o) {
    if (!h.host) h.writer->releases.push_back(o);
    h.host = true;
  };
  std::vector<uint32_t> seen;
  for (Segment& segment : segments) {
    const auto has = [&](const std::vector<uint32_t>& list) {
      return std::find(list.begin(), list.end(), segment.device) != list.end();
    };
    segment.first_on_device = !has(seen);
    seen.push_back(segment.device);
    for (Operand o : segment.reads) {
      Holding& h = holding(o);
      TANDEM_CHECK(h.writer != nullptr, "%s reads operand %d, which nothing wrote",
                   segment.first.c_str(), static_cast<int>(o));
      if (has(h.devices)) continue;
      to_host(h, o);
      segment.acquires.push_back(o);
      h.devices.push_back(segment.device);
    }
    for (Operand o : segment.writes) holding(o) = {{segment.device}, false, &segment};
  }
  to_host(holding(result), result);
}

}  // namespace tandem
