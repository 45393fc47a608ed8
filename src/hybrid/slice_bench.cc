// SPDX-License-Identifier: Apache-2.0
#include "hybrid/slice_bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <thread>

#include "base/error.h"
#include "hybrid/node_support.h"
#include "hybrid/trace.h"

namespace tandem {
namespace {

constexpr std::array kPhases = {Phase::kPrefill, Phase::kDecode};
constexpr std::chrono::minutes kTimeout{10};

// More than caches hold.
constexpr uint64_t kColdBytes = uint64_t{256} << 20;
constexpr size_t kLeastLayers = 4;

// `count` of `layers`, evenly spread.
void take_spread(const std::vector<uint16_t>& layers, size_t count, std::vector<uint16_t>& taken) {
  for (size_t i = 0; i < count; ++i) taken.push_back(layers[i * layers.size() / count]);
}

}  // namespace

std::vector<uint16_t> some_layers(const ModelConfig& config, size_t wanted) {
  std::vector<uint16_t> windowed, global, taken;
  for (size_t i = 0; i < config.layers.size(); ++i)
    (config.layers[i].window == 0 ? global : windowed).push_back(static_cast<uint16_t>(i));
  const size_t all = config.layers.size();
  for (const auto* layers : {&windowed, &global}) {
    const size_t share = (wanted * layers->size() + all / 2) / all;
    take_spread(*layers, std::clamp(share, std::min<size_t>(1, layers->size()), layers->size()),
                taken);
  }
  std::sort(taken.begin(), taken.end());
  return taken;
}

Slice slice_of(const ModelConfig& config, const ModelWeights& weights) {
  uint64_t layer_size = 1;
  for (Op op : {Op::kQkv, Op::kAttnCore, Op::kAttnOut, Op::kFfn})
    layer_size += weights.node(op, 0).size();
  Slice slice;
  slice.layers =
      some_layers(config, std::clamp<size_t>(kColdBytes / layer_size, kLeastLayers,
                                             std::max(kLeastLayers, config.layers.size())));
  slice.config = config;
  slice.config.layers.clear();
  for (uint16_t layer : slice.layers) slice.config.layers.push_back(config.layers[layer]);
  return slice;
}

SliceBench::SliceBench(Backend& device, const Slice& slice, const ModelWeights& weights,
                       const CoordinatorShape& shape)
    : device_(device),
      slice_(slice),
      shape_(shape),
      slot_(slice.config, shape),
      kv_(slice.config, Coordinator::cache_shape(shape)) {
  size_t scratch_size = 0;
  const auto dims = [&](Operand o) { return operand_dims(o, slice.config, shape); };
  for (uint32_t i = 0; i < kOperandCount; ++i)
    if (is_scratch(Operand(i))) scratch_size += Arena::size_of(DType::kF32, dims(Operand(i)));
  scratch_memory_ = std::make_unique<SharedMemory>(scratch_size, "scratch");
  Arena arena(*scratch_memory_);
  for (uint32_t i = 0; i < kOperandCount; ++i)
    if (is_scratch(Operand(i))) scratch_[i] = arena.allocate(DType::kF32, dims(Operand(i)));
  // Pages that nobody wrote share one page of zeros, which caches hold.
  constexpr int kSmallFloats = 0x11;
  for (uint32_t layer = 0; layer < slice.layers.size(); ++layer)
    for (const TensorView& view : kv_.layer(layer))
      if (view.element_count() > 0)
        std::memset(view.memory->data() + view.offset, kSmallFloats, view.size());
  for (auto& phase : refusals_) phase.fill("the model has no such node");
  std::vector<Node> pass = forward_pass(static_cast<uint32_t>(slice.layers.size()));
  for (const Node& node : pass) load(node, weights);
  load({Op::kArgmax}, weights);
}

void SliceBench::load(const Node& node, const ModelWeights& weights) {
  LoadedSliceNode loaded;
  loaded.node = node;
  // The choice of the token belongs to the head.
  loaded.kind = node.op == Op::kArgmax
                    ? NodeKind::kHead
                    : node_kind(node.op, slice_.config.layers[node.layer].window == 0);
  const NodeWeights file =
      node.op == Op::kArgmax ? NodeWeights{} : weights.node(node.op, slice_.layers[node.layer]);
  const WeightTypes types = file.types();
  std::vector<Phase> phases;
  for (Phase phase : kPhases) {
    if (node.op == Op::kArgmax && phase == Phase::kPrefill) continue;
    const Phase one[] = {phase};
    const NodeSupport support = node_support(device_, slice_.config, shape_, node, one, types);
    if (!support.ops.empty()) phases.push_back(phase);
    std::string& refusal = refusals_[static_cast<size_t>(phase)][static_cast<size_t>(loaded.kind)];
    if (node.op != Op::kArgmax || refusal.empty()) refusal = support.reason;
  }
  if (node.op != Op::kArgmax) ++counts_[static_cast<size_t>(loaded.kind)];
  if (phases.empty()) return;
  loaded.ops = node_support(device_, slice_.config, shape_, node, phases, types).ops;
  const auto views = file.views();
  for (const BlockOp& op : loaded.ops) {
    const std::span<const TensorView> own(views.data() + op.first_weight, op.weight_count);
    const OpSpec spec = op_spec(slice_.config, shape_, node, op, phases.front(), types);
    loaded.weights.push_back(op.weight_count > 0 ? device_.load(spec, own) : nullptr);
    for (Phase phase : phases)
      loaded.kernels[static_cast<size_t>(phase)].push_back(device_.prepare(
          op_spec(slice_.config, shape_, node, op, phase, types), loaded.weights.back().get()));
  }
  nodes_.push_back(std::move(loaded));
}

bool SliceBench::supports(Op op, Phase phase) const {
  return std::any_of(nodes_.begin(), nodes_.end(), [&](const LoadedSliceNode& node) {
    return op_of(node.kind) == op && !node.kernels[static_cast<size_t>(phase)].empty();
  });
}

uint64_t SliceBench::weight_size(NodeKind kind) const {
  uint64_t sum = 0;
  for (const LoadedSliceNode& node : nodes_)
    for (const auto& weights : node.weights)
      if (node.kind == kind && weights) sum += weights->size();
  return sum / std::max(count(kind), 1u);
}

const TensorView& SliceBench::view(Operand operand, uint32_t layer) const {
  const auto index = static_cast<size_t>(operand);
  if (is_kv(operand)) return kv_.layer(layer)[index - static_cast<size_t>(Operand::kK)];
  return is_scratch(operand) ? scratch_[index] : slot_.operand(operand);
}

std::vector<const SliceBench::LoadedSliceNode*> SliceBench::nodes_of(
    Phase phase, std::optional<Op> without) const {
  std::vector<const LoadedSliceNode*> nodes;
  for (const LoadedSliceNode& node : nodes_)
    if (op_of(node.kind) != without && !node.kernels[static_cast<size_t>(phase)].empty())
      nodes.push_back(&node);
  return nodes;
}

std::unique_ptr<Program> SliceBench::record_program(Phase phase,
                                                    std::span<const LoadedSliceNode* const> nodes) {
  std::vector<std::vector<TensorView>> args;
  std::vector<Step> steps;
  for (const LoadedSliceNode* node : nodes)
    for (size_t op = 0; op < node->ops.size(); ++op) {
      std::vector<TensorView>& views = args.emplace_back();
      for (Operand operand : node->ops[op].operands)
        views.push_back(view(operand, node->node.layer));
      steps.push_back({node->kernels[static_cast<size_t>(phase)][op].get(), {}});
    }
  for (size_t i = 0; i < steps.size(); ++i) steps[i].args = args[i];
  return device_.record(steps, slot_.batch());
}

Pass SliceBench::record(Phase phase, std::optional<Op> without) {
  Pass pass;
  const auto nodes = nodes_of(phase, without);
  if (!nodes.empty()) pass.push_back(record_program(phase, nodes));
  return pass;
}

Pass SliceBench::record_apart(Phase phase) {
  Pass pass;
  const auto nodes = nodes_of(phase, {});
  for (const LoadedSliceNode*& node : std::vector(nodes))
    pass.push_back(record_program(phase, std::span(&node, 1)));
  return pass;
}

void SliceBench::set_step(Phase phase, uint32_t rows, uint32_t position) {
  std::vector<StepRow> list(rows);
  for (uint32_t i = 0; i < rows; ++i)
    list[i] = phase == Phase::kPrefill ? StepRow{i, 0, position + i, i + 1 == rows}
                                       : StepRow{i, i, position, true};
  slot_.write(list);
  slot_.import_on(device_).acquire(Access::kRead, 0, slot_.size());
  for (uint32_t layer = 0; layer < slice_.layers.size(); ++layer)
    for (const TensorView& view : kv_.layer(layer))
      if (view.element_count() > 0)
        view.memory->import_for(device_).acquire(Access::kRead, view.offset, view.size());
}

double SliceBench::run_us(const Pass& pass, uint32_t pause_us) {
  uint64_t sum = 0;
  for (const auto& program : pass) {
    if (pause_us > 0) std::this_thread::sleep_for(std::chrono::microseconds(pause_us));
    const uint64_t start = now_ns();
    const Status status = device_.wait(device_.submit(*program, 1), kTimeout);
    sum += now_ns() - start;
    if (status != Status::kDone)
      throw Error(ErrorCode::kDeviceLost, fmt::format("{} failed while it was measured: {}",
                                                      device_.info().name, device_.failure()));
  }
  return static_cast<double>(sum) * 1e-3;
}

}  // namespace tandem
