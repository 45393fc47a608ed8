// SPDX-License-Identifier: Apache-2.0
#include "hybrid/coordinator.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "base/check.h"
#include "base/error.h"
#include "hybrid/node_support.h"
#include "hybrid/segment.h"

namespace tandem {
namespace {

// Longer than any step of any model on any device that still works; a hung device ends here.
constexpr std::chrono::minutes kStepTimeout{30};

constexpr uint32_t kBatchColumns = 4;  // u32 fields of a BatchHeader or BatchRow

size_t schedule_index(Phase phase, Tail tail) {
  return static_cast<size_t>(phase) * 2 + static_cast<size_t>(tail);
}

std::array<uint32_t, 3> batch_dims(const CoordinatorShape& shape) {
  return {1, 1 + shape.max_rows, kBatchColumns};
}

std::array<uint32_t, 3> operand_dims(Operand operand, const ModelConfig& config,
                                     const CoordinatorShape& shape) {
  if (operand == Operand::kIds) return {1, shape.max_rounds, shape.max_outputs};
  return {1, counts_outputs(operand) ? shape.max_outputs : shape.max_rows,
          operand_width(operand, config.common())};
}

DType operand_dtype(Operand operand) {
  return operand == Operand::kIds ? DType::kI32 : DType::kF32;
}

bool one_row_per_sequence(std::span<const StepRow> rows) {
  for (size_t i = 1; i < rows.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      if (rows[i].sequence == rows[j].sequence) return false;
  return true;
}

}  // namespace

Coordinator::Coordinator(const ModelConfig& config, const ModelWeights& weights,
                         std::span<Backend* const> backends, const Plan& plan,
                         const CoordinatorShape& shape, const Progress& progress)
    : config_(config),
      backends_(backends.begin(), backends.end()),
      plan_(plan),
      shape_(shape),
      nodes_(forward_pass(static_cast<uint32_t>(config.layers.size()))),
      kv_(config, {shape.context, shape.max_rows, shape.sequences, shape.kv}) {
  TANDEM_CHECK(plan.devices.size() == backends.size(), "%zu devices, %zu backends",
               plan.devices.size(), backends.size());
  TANDEM_CHECK(plan.prefill.size() == nodes_.size() && plan.decode.size() == nodes_.size(),
               "a plan for %zu nodes, the model has %zu", plan.prefill.size(), nodes_.size());
  nodes_.push_back({Op::kArgmax});
  plan_.prefill.push_back(plan_.prefill.back());
  plan_.decode.push_back(plan_.decode.back());
  owners_.fill(kHost);
  kv_owners_.assign(config.layers.size(), kHost);
  allocate_activations();
  load_weights(weights, progress);
  for (Phase phase : {Phase::kPrefill, Phase::kDecode})
    for (Tail tail : {Tail::kNone, Tail::kArgmax}) schedules_.push_back(make_schedule(phase, tail));
}

Coordinator::~Coordinator() = default;

size_t Coordinator::activation_size(const ModelConfig& config, const CoordinatorShape& shape) {
  size_t total = Arena::size_of(DType::kI32, batch_dims(shape));
  for (uint32_t i = 0; i < kOperandCount; ++i) {
    const auto operand = static_cast<Operand>(i);
    if (!is_kv(operand))
      total += Arena::size_of(operand_dtype(operand), operand_dims(operand, config, shape));
  }
  return total;
}

void Coordinator::allocate_activations() {
  activations_ = std::make_unique<SharedMemory>(activation_size(config_, shape_), "activations");
  Arena arena(*activations_);
  batch_ = arena.allocate(DType::kI32, batch_dims(shape_));
  for (uint32_t i = 0; i < kOperandCount; ++i) {
    const auto operand = static_cast<Operand>(i);
    if (!is_kv(operand))
      operands_[i] = arena.allocate(operand_dtype(operand), operand_dims(operand, config_, shape_));
  }
}

void Coordinator::load_weights(const ModelWeights& weights, const Progress& progress) {
  const uint64_t total = weights.size();
  uint64_t done = 0;
  if (progress) progress(0, total);
  // From the end: while the largest tensor, the head, is taken over its source pages are resident
  // too, and nothing else should be.
  for (size_t i = nodes_.size(); i-- > 0;) {
    load_node(weights, i, plan_.prefill[i]);
    if (plan_.decode[i] != plan_.prefill[i]) load_node(weights, i, plan_.decode[i]);
    if (nodes_[i].op == Op::kArgmax) continue;
    const NodeWeights node = weights.node(nodes_[i].op, nodes_[i].layer);
    for (uint32_t t = 0; t < node.count; ++t) weights.file().drop_pages(*node.tensors[t]);
    if (nodes_[i].op != Op::kEmbed) done += node.size();
    if (progress) progress(std::min(done, total), total);
  }
}

void Coordinator::load_node(const ModelWeights& weights, size_t index, uint32_t device) {
  const Node& node = nodes_[index];
  Backend& backend = *backends_[device];
  const NodeWeights file =
      node.op == Op::kArgmax ? NodeWeights{} : weights.node(node.op, node.layer);
  const WeightTypes types = file.types();
  std::vector<Phase> phases;
  if (plan_.prefill[index] == device) phases.push_back(Phase::kPrefill);
  if (plan_.decode[index] == device) phases.push_back(Phase::kDecode);

  const NodeSupport support = node_support(backend, config_, shape_, node, phases, types);
  if (support.ops.empty())
    throw Error(
        ErrorCode::kUnsupported,
        fmt::format("{} cannot run {} of layer {} ({}); choose another device", backend.info().name,
                    op_info(node.op).name, node.layer, support.reason));
  auto entry = std::make_unique<Loaded>(Loaded{index, device, {}});
  const auto views = file.views();
  for (const BlockOp& op : support.ops) {
    LoadedOp made{&op, nullptr, {}};
    const std::span<const TensorView> own(views.data() + op.first_weight, op.weight_count);
    if (op.weight_count > 0) {
      made.weights = backend.load(op_spec(config_, shape_, node, op, phases.front(), types), own);
      weight_size_ += made.weights->size();
    }
    for (Phase phase : phases)
      made.kernels[static_cast<size_t>(phase)] =
          backend.prepare(op_spec(config_, shape_, node, op, phase, types), made.weights.get());
    entry->ops.push_back(std::move(made));
  }
  loaded_.push_back(std::move(entry));
}

Coordinator::Loaded& Coordinator::loaded(size_t node, uint32_t device) {
  for (const auto& entry : loaded_)
    if (entry->node == node && entry->device == device) return *entry;
  TANDEM_CHECK(false, "node %zu was not loaded on device %u", node, device);
}

std::vector<TensorView> Coordinator::views_of(const BlockOp& op, uint16_t layer) const {
  std::vector<TensorView> views;
  for (Operand operand : op.operands)
    views.push_back(
        is_kv(operand)
            ? kv_.layer(layer)[static_cast<size_t>(operand) - static_cast<size_t>(Operand::kK)]
            : operands_[static_cast<size_t>(operand)]);
  return views;
}

void Coordinator::append_node(Segment& segment, const Node& node, Loaded& ops, Phase phase) {
  for (LoadedOp& op : ops.ops) {
    segment.args.push_back(views_of(*op.block, node.layer));
    segment.steps.push_back({op.kernels[static_cast<size_t>(phase)].get(), {}});
  }
  segment.note_operands(node_op(node.op), node.layer);
}

Coordinator::Schedule Coordinator::make_schedule(Phase phase, Tail tail) {
  const std::vector<uint32_t>& devices = phase == Phase::kPrefill ? plan_.prefill : plan_.decode;
  const size_t end = tail == Tail::kArgmax ? nodes_.size() : nodes_.size() - 1;
  Schedule schedule;
  for (size_t i = 0; i < end; ++i) {
    if (schedule.segments.empty() || schedule.segments.back().device != devices[i])
      schedule.segments.emplace_back(devices[i]);
    append_node(schedule.segments.back(), nodes_[i], loaded(i, devices[i]), phase);
  }
  for (Segment& segment : schedule.segments) {
    for (size_t i = 0; i < segment.steps.size(); ++i) segment.steps[i].args = segment.args[i];
    segment.program = backends_[segment.device]->record(segment.steps, batch_);
  }
  return schedule;
}

void Coordinator::write_batch(std::span<const StepRow> rows) {
  TANDEM_CHECK(rows.size() <= shape_.max_rows, "%zu rows, room for %u", rows.size(),
               shape_.max_rows);
  output_count_ = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    TANDEM_DCHECK(rows[i].sequence < shape_.sequences && rows[i].position < shape_.context,
                  "sequence %u position %u", rows[i].sequence, rows[i].position);
    BatchRow& record = *batch_.row_as<BatchRow>(static_cast<uint32_t>(i) + 1);
    record.token = rows[i].token;
    record.sequence = rows[i].sequence;
    record.position = rows[i].position;
    if (!rows[i].output) continue;
    TANDEM_CHECK(output_count_ < shape_.max_outputs, "more than %u outputs", shape_.max_outputs);
    batch_.row_as<BatchRow>(++output_count_)->output_row = static_cast<uint32_t>(i);
  }
  *batch_.row_as<BatchHeader>(0) = {static_cast<uint32_t>(rows.size()), output_count_, 0, 0};
}

void Coordinator::move_owner(uint32_t& owner, const TensorView& view, size_t size, uint32_t to) {
  if (owner == to || view.memory == nullptr || size == 0) return;
  bool copied = false;
  if (owner != kHost) {
    Import& from = view.memory->import_for(*backends_[owner]);
    from.release(Access::kWrite, view.offset, size);
    copied |= !from.zero_copy();
  }
  if (to != kHost) {
    Import& destination = view.memory->import_for(*backends_[to]);
    destination.acquire(Access::kRead, view.offset, size);
    copied |= !destination.zero_copy();
  }
  if (owner != kHost && to != kHost) {
    ++edge_counters_.edges;
    edge_counters_.edge_bytes += size;
  }
  if (copied) edge_counters_.staged_bytes += size;
  owner = to;
}

void Coordinator::hand_over(const Segment& segment, uint32_t row_count) {
  uint32_t batch_owner = kHost;
  move_owner(batch_owner, batch_, (1 + size_t{row_count}) * sizeof(BatchRow), segment.device);
  for (Operand operand : segment.reads) {
    const TensorView& view = operands_[static_cast<size_t>(operand)];
    const uint32_t rows = counts_outputs(operand) ? output_count_ : row_count;
    move_owner(owners_[static_cast<size_t>(operand)], view, rows * view.strides[1], segment.device);
  }
  for (uint16_t layer : segment.kv_layers) {
    const uint32_t owner = kv_owners_[layer];
    for (const TensorView& view : kv_.layer(layer)) {
      uint32_t moving = owner;
      if (view.element_count() > 0) move_owner(moving, view, view.size(), segment.device);
    }
    kv_owners_[layer] = segment.device;
  }
  for (Operand operand : segment.writes) owners_[static_cast<size_t>(operand)] = segment.device;
}

void Coordinator::run_segment(Segment& segment, uint32_t rounds) {
  Backend& backend = *backends_[segment.device];
  const Ticket ticket = backend.submit(*segment.program, rounds);
  const Status status = backend.wait(ticket, kStepTimeout);
  if (status == Status::kDone) return;
  const bool lost = status == Status::kDeviceLost;
  throw Error(
      lost ? ErrorCode::kDeviceLost : ErrorCode::kTimeout,
      fmt::format("{} {} while running {}: {}", backend.info().name,
                  lost ? "was lost" : "did not answer in time", segment.name(), backend.failure()));
}

void Coordinator::run(std::span<const StepRow> rows, Tail tail, uint32_t rounds) {
  if (rows.empty()) return;
  TANDEM_CHECK(rounds >= 1 && rounds <= shape_.max_rounds, "%u rounds of at most %u", rounds,
               shape_.max_rounds);
  write_batch(rows);
  const Phase phase = rows.size() <= shape_.sequences && one_row_per_sequence(rows)
                          ? Phase::kDecode
                          : Phase::kPrefill;
  Schedule& schedule = schedules_[schedule_index(phase, tail)];
  const auto row_count = static_cast<uint32_t>(rows.size());
  TANDEM_CHECK(rounds == 1 || schedule.segments.size() == 1, "%u rounds over %zu devices", rounds,
               schedule.segments.size());
  for (Segment& segment : schedule.segments) {
    hand_over(segment, row_count);
    run_segment(segment, rounds);
  }
  const auto to_host = [&](Operand operand, size_t bytes) {
    move_owner(owners_[static_cast<size_t>(operand)], operands_[static_cast<size_t>(operand)],
               bytes, kHost);
  };
  const TensorView& logit_view = operands_[static_cast<size_t>(Operand::kLogits)];
  const TensorView& id_view = operands_[static_cast<size_t>(Operand::kIds)];
  if (tail == Tail::kArgmax)
    to_host(Operand::kIds, rounds * id_view.strides[1]);
  else
    to_host(Operand::kLogits, output_count_ * logit_view.strides[1]);
}

std::span<float> Coordinator::logits(uint32_t output) const {
  TANDEM_CHECK(output < output_count_, "output %u of %u", output, output_count_);
  return {operands_[static_cast<size_t>(Operand::kLogits)].row_as<float>(output), config_.vocab};
}

std::span<const int32_t> Coordinator::ids(uint32_t round) const {
  return {operands_[static_cast<size_t>(Operand::kIds)].row_as<int32_t>(round), output_count_};
}

std::vector<uint32_t> Coordinator::node_counts(Phase phase) const {
  const std::vector<uint32_t>& devices = phase == Phase::kPrefill ? plan_.prefill : plan_.decode;
  std::vector<uint32_t> counts(backends_.size(), 0);
  for (size_t i = 0; i + 1 < devices.size(); ++i) ++counts[devices[i]];
  return counts;
}

}  // namespace tandem
