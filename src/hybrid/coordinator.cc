// SPDX-License-Identifier: Apache-2.0
#include "hybrid/coordinator.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "base/check.h"
#include "base/error.h"
#include "hybrid/node_support.h"
#include "hybrid/pipeline.h"

namespace tandem {
namespace {

// Longer than any step of any model on any device that still works; a hung device ends here.
constexpr std::chrono::minutes kStepTimeout{30};

bool one_row_per_sequence(std::span<const StepRow> rows) {
  for (size_t i = 1; i < rows.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      if (rows[i].sequence == rows[j].sequence) return false;
  return true;
}

Error failure_of(const Backend& backend, Status status) {
  if (status == Status::kWrongResult) return Error(ErrorCode::kInternal, backend.failure());
  const bool lost = status == Status::kDeviceLost;
  return Error(lost ? ErrorCode::kDeviceLost : ErrorCode::kTimeout,
               fmt::format("{} {}: {}", backend.info().name,
                           lost ? "was lost" : "did not answer in time", backend.failure()));
}

double predicted_seconds(const Backend& backend) {
  return backend.info().emulated ? backend.device_counters().predicted_seconds : 0;
}

template <typename Each>
void for_each_scratch(Each each) {
  for (uint32_t i = 0; i < kOperandCount; ++i)
    if (const auto operand = static_cast<Operand>(i); is_scratch(operand)) each(operand);
}

size_t scratch_size(const ModelConfig& config, const CoordinatorShape& shape) {
  size_t total = 0;
  for_each_scratch([&](Operand operand) {
    total += Arena::size_of(operand_dtype(operand), operand_dims(operand, config, shape));
  });
  return total;
}

}  // namespace

struct Coordinator::Scratch {
  Scratch(const ModelConfig& config, const CoordinatorShape& shape)
      : memory(scratch_size(config, shape), "scratch inside a node") {
    Arena arena(memory);
    for_each_scratch([&](Operand operand) {
      views[static_cast<size_t>(operand)] =
          arena.allocate(operand_dtype(operand), operand_dims(operand, config, shape));
    });
  }
  SharedMemory memory;
  std::array<TensorView, kOperandCount> views{};
};

// Steps as jobs of the pipeline: a task is a segment.
class Coordinator::PipelinedSteps : public Pipeline::Work {
 public:
  explicit PipelinedSteps(Coordinator& owner)
      : owner_(owner),
        pipeline_(static_cast<uint32_t>(owner.backends_.size()), owner.shape_.slots) {}

  Pipeline::Result run(std::span<const PipelineStep> steps, Phase phase, Tail tail) {
    steps_ = steps;
    phase_ = phase;
    tail_ = tail;
    return pipeline_.run(static_cast<uint32_t>(steps.size()), *this);
  }

 private:
  uint32_t start(uint32_t job, uint32_t slot) override {
    owner_.start(slot, steps_[job], phase_, tail_);
    return owner_.device_of(slot);
  }
  std::optional<uint32_t> run_task(uint32_t slot) override {
    owner_.run_segment(slot);
    if (!owner_.advance(slot)) return std::nullopt;
    return owner_.device_of(slot);
  }

  Coordinator& owner_;
  std::span<const PipelineStep> steps_;
  Phase phase_ = Phase::kPrefill;
  Tail tail_ = Tail::kNone;
  Pipeline pipeline_;
};

// ---- Setting up ---------------------------------------------------------------------------------

Coordinator::Coordinator(const ModelConfig& config, const ModelWeights& weights,
                         std::span<Backend* const> backends, const Plan& plan,
                         const CoordinatorShape& shape, const Progress& progress)
    : config_(config),
      weights_(weights),
      backends_(backends.begin(), backends.end()),
      plan_(plan),
      shape_(shape),
      nodes_(forward_pass(static_cast<uint32_t>(config.layers.size()))),
      kv_(config, cache_shape(shape)),
      cache_owners_(config, kv_, backends, shape.sequences),
      scratch_(backends.size()),
      steps_(shape.slots),
      memory_(backends.size()),
      trace_(backends.size()) {
  TANDEM_CHECK(plan.devices.size() == backends.size(), "%zu devices, %zu backends",
               plan.devices.size(), backends.size());
  TANDEM_CHECK(plan.prefill.size() == nodes_.size() && plan.decode.size() == nodes_.size(),
               "a plan for %zu nodes, the model has %zu", plan.prefill.size(), nodes_.size());
  nodes_.push_back({Op::kArgmax});
  plan_.prefill.push_back(plan_.prefill.back());
  plan_.decode.push_back(plan_.decode.back());
  reset_counters();
  extents_.reserve(shape.sequences);
  for (uint32_t i = 0; i < shape.slots; ++i)
    slots_.push_back(std::make_unique<Slot>(config, shape));
  load_weights(weights, progress);
  // A prompt's argmax is rarely asked for; its schedule is made when it is.
  schedule(Phase::kPrefill, Tail::kNone);
  schedule(Phase::kDecode, Tail::kNone);
  schedule(Phase::kDecode, Tail::kArgmax);
  count_memory();
  if (shape.slots > 1) pipelined_ = std::make_unique<PipelinedSteps>(*this);
}

Coordinator::~Coordinator() = default;

size_t Coordinator::activation_size(const ModelConfig& config, const CoordinatorShape& shape) {
  return shape.slots * Slot::size_of(config, shape) + scratch_size(config, shape);
}

// A window's ring has room for all rows in flight, so that steps which did not finish leave what
// the rows before them attend to.
KvCacheShape Coordinator::cache_shape(const CoordinatorShape& shape) {
  return {shape.context, std::max(shape.max_rows * shape.slots, shape.max_rounds), shape.sequences,
          shape.kv};
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
  auto entry = std::make_unique<LoadedNode>(LoadedNode{index, device, {}});
  const auto views = file.views();
  for (const BlockOp& op : support.ops) {
    LoadedOp made{&op, nullptr, {}};
    const std::span<const TensorView> own(views.data() + op.first_weight, op.weight_count);
    if (op.weight_count > 0) {
      made.weights = backend.load(op_spec(config_, shape_, node, op, phases.front(), types), own);
      // A tied embedding is on the device once, with the head.
      const bool in_head =
          node.op == Op::kEmbed && weights.tied() && runs(plan_, nodes_.size() - 2, device);
      if (!in_head) memory_[device].weights += made.weights->size();
    }
    for (Phase phase : phases)
      made.kernels[static_cast<size_t>(phase)] =
          backend.prepare(op_spec(config_, shape_, node, op, phase, types), made.weights.get());
    entry->ops.push_back(std::move(made));
  }
  loaded_.push_back(std::move(entry));
}

LoadedNode& Coordinator::loaded(size_t node, uint32_t device) {
  for (const auto& entry : loaded_)
    if (entry->node == node && entry->device == device) return *entry;
  TANDEM_CHECK(false, "node %zu was not loaded on device %u", node, device);
}

Coordinator::Scratch& Coordinator::scratch_of(uint32_t device) {
  std::unique_ptr<Scratch>& scratch = scratch_[device];
  if (!scratch) scratch = std::make_unique<Scratch>(config_, shape_);
  return *scratch;
}

const TensorView& Coordinator::view_of(Operand operand, const Node& node, uint32_t device,
                                       uint32_t slot) {
  const auto index = static_cast<size_t>(operand);
  if (is_kv(operand)) return kv_.layer(node.layer)[index - static_cast<size_t>(Operand::kK)];
  if (is_scratch(operand)) return scratch_of(device).views[index];
  return slots_[slot]->operand(operand);
}

std::unique_ptr<Program> Coordinator::record(const Segment& segment, Phase phase, uint32_t slot) {
  std::vector<std::vector<TensorView>> args;
  std::vector<Step> steps;
  for (size_t i = segment.first_node; i < segment.first_node + segment.nodes; ++i)
    for (const LoadedOp& op : loaded(i, segment.device).ops) {
      std::vector<TensorView>& views = args.emplace_back();
      for (Operand operand : op.block->operands)
        views.push_back(view_of(operand, nodes_[i], segment.device, slot));
      steps.push_back({op.kernels[static_cast<size_t>(phase)].get(), {}});
    }
  for (size_t i = 0; i < steps.size(); ++i) steps[i].args = args[i];
  return backends_[segment.device]->record(steps, slots_[slot]->batch());
}

Schedule Coordinator::make_schedule(Phase phase, Tail tail) {
  const std::vector<uint32_t>& devices = phase == Phase::kPrefill ? plan_.prefill : plan_.decode;
  const size_t end = tail == Tail::kArgmax ? nodes_.size() : nodes_.size() - 1;
  const size_t window_count = windows_of(config_).size();
  Schedule schedule;
  for (size_t i = 0; i < end; ++i) {
    if (schedule.segments.empty() || schedule.segments.back().device != devices[i])
      schedule.segments.emplace_back(devices[i], i, window_count);
    const Node& node = nodes_[i];
    Segment& segment = schedule.segments.back();
    segment.note_operands(node);
    segment.cost.add(node,
                     node.op == Op::kArgmax ? NodeWeights{} : weights_.node(node.op, node.layer),
                     config_, shape_.kv);
  }
  schedule.plan_transfers(tail == Tail::kArgmax ? Operand::kIds : Operand::kLogits);
  for (Segment& segment : schedule.segments)
    for (uint32_t slot = 0; slot < shape_.slots; ++slot)
      segment.programs.push_back(record(segment, phase, slot));
  return schedule;
}

Schedule& Coordinator::schedule(Phase phase, Tail tail) {
  std::unique_ptr<Schedule>& made =
      schedules_[static_cast<size_t>(phase) * 2 + static_cast<size_t>(tail)];
  if (!made) made = std::make_unique<Schedule>(make_schedule(phase, tail));
  return *made;
}

// ---- Running ------------------------------------------------------------------------------------

void Coordinator::start(uint32_t slot, const PipelineStep& step, Phase phase, Tail tail) {
  TANDEM_CHECK(step.rounds >= 1 && step.rounds <= shape_.max_rounds, "%u rounds of at most %u",
               step.rounds, shape_.max_rounds);
  slots_[slot]->write(step.rows);
  TANDEM_CHECK(step.rounds == 1 ||
                   (tail == Tail::kArgmax && slots_[slot]->output_count() == step.rows.size()),
               "%u rounds without all ids", step.rounds);
  StepState& state = steps_[slot];
  state = {};
  state.schedule = &schedule(phase, tail);
  state.phase = phase;
  state.tail = tail;
  state.rounds = step.rounds;
  state.rounds_per_submit = state.schedule->segments.size() == 1 ? step.rounds : 1;
  state.number = step_count_++;
  last_slot_ = slot;
}

uint32_t Coordinator::device_of(uint32_t slot) const {
  return steps_[slot].schedule->segments[steps_[slot].segment].device;
}

void Coordinator::hand_over_cache(std::span<const PipelineStep> steps, Phase phase) {
  extents_.clear();
  for (const PipelineStep& step : steps)
    for (const StepRow& row : step.rows)
      if (std::none_of(extents_.begin(), extents_.end(),
                       [&](const SequenceExtent& e) { return e.sequence == row.sequence; }))
        extents_.push_back({row.sequence, row.position, row.position});
  const std::span<const uint32_t> devices = placement(phase);
  for (size_t i = 0; i < devices.size(); ++i) {
    if (nodes_[i].op != Op::kAttnCore) continue;
    DeviceUse& use = device_use(phase, devices[i]);
    const uint64_t start = now_ns(), bytes = use.edge_bytes;
    try {
      for (const SequenceExtent& extent : extents_)
        cache_owners_.hand_over(nodes_[i].layer, extent, devices[i], use);
    } catch (const Error& error) {
      throw error.while_doing(fmt::format("handing the cache of layer {} to {}", nodes_[i].layer,
                                          backends_[devices[i]]->info().name));
    }
    if (use.edge_bytes == bytes) continue;
    const uint64_t end = now_ns();
    use.transfer_ns += end - start;
    if (TraceRing& trace = trace_[devices[i]]; trace.enabled())
      trace.add({TraceKind::kCache, phase, start, end, nullptr, step_count_, 0,
                 use.edge_bytes - bytes, 0});
  }
}

void Coordinator::transfer(uint32_t index, const Segment& segment, Access access) {
  const bool acquiring = access == Access::kRead;
  const bool batch = acquiring && segment.first_on_device;
  const std::vector<Operand>& operands = acquiring ? segment.acquires : segment.releases;
  if (operands.empty() && !batch) return;
  Slot& slot = *slots_[index];
  const StepState& step = steps_[index];
  DeviceUse& use = device_use(step.phase, segment.device);
  Import& import = slot.import_on(*backends_[segment.device]);
  const uint64_t start = now_ns();
  uint64_t bytes = 0;
  const auto move = [&](const TensorView& view, size_t size) {
    if (acquiring)
      import.acquire(access, view.offset, size);
    else
      import.release(access, view.offset, size);
    bytes += size;
    if (import.zero_copy()) return;
    ++use.staged_copies;
    use.staged_bytes += size;
  };
  for (Operand operand : operands)
    move(slot.operand(operand), slot.used_size(operand, step.rounds_per_submit));
  if (acquiring) {
    use.edges += operands.size();
    use.edge_bytes += bytes;
  }
  if (batch) move(slot.batch(), slot.batch_size());
  const uint64_t end = now_ns();
  use.transfer_ns += end - start;
  if (TraceRing& trace = trace_[segment.device]; trace.enabled())
    trace.add({acquiring ? TraceKind::kAcquire : TraceKind::kRelease, step.phase, start, end,
               &segment, step.number, slot.row_count(), bytes, 0});
}

void Coordinator::run_segment(uint32_t index) {
  const StepState& step = steps_[index];
  const Segment& segment = step.schedule->segments[step.segment];
  const Slot& slot = *slots_[index];
  Backend& backend = *backends_[segment.device];
  try {
    transfer(index, segment, Access::kRead);
    const double predicted_before = predicted_seconds(backend);
    const uint64_t start = now_ns();
    const Ticket ticket = backend.submit(*segment.programs[index], step.rounds_per_submit);
    const Status status = backend.wait(ticket, kStepTimeout);
    const uint64_t end = now_ns();
    if (status != Status::kDone) throw failure_of(backend, status);
    const uint64_t bytes = step.rounds_per_submit * segment.cost.bytes(slot);
    const uint64_t operations = step.rounds_per_submit * segment.cost.operations(slot);
    DeviceUse& use = device_use(step.phase, segment.device);
    const uint64_t rows = uint64_t{slot.row_count()} * step.rounds_per_submit;
    if (segment.first_on_device) use.tokens += rows;
    use.nodes += uint64_t{segment.plan_nodes} * step.rounds_per_submit;
    ++use.submits;
    use.busy_ns += end - start;
    use.predicted_seconds += predicted_seconds(backend) - predicted_before;
    use.bytes += bytes;
    use.operations += operations;
    if (TraceRing& trace = trace_[segment.device]; trace.enabled())
      trace.add({TraceKind::kRun, step.phase, start, end, &segment, step.number, slot.row_count(),
                 bytes, operations});
    transfer(index, segment, Access::kWrite);
  } catch (const Error& error) {
    throw error.while_doing(fmt::format("running {} on {}", segment.name(), backend.info().name));
  }
}

// To the step's next segment, or the next round's first. False when the step is done.
bool Coordinator::advance(uint32_t index) {
  StepState& step = steps_[index];
  Slot& slot = *slots_[index];
  const std::vector<Segment>& segments = step.schedule->segments;
  do {
    ++step.segment;
  } while (step.segment < segments.size() && segments[step.segment].outputs_only &&
           slot.output_count() == 0);
  if (step.segment < segments.size()) return true;
  step.segment = 0;
  if (step.tail == Tail::kArgmax) slot.keep_ids(step.round, step.rounds_per_submit);
  step.round += step.rounds_per_submit;
  if (step.round >= step.rounds) return false;
  slot.feed_back();
  return true;
}

void Coordinator::run(std::span<const StepRow> rows, Tail tail, uint32_t rounds) {
  if (rows.empty()) return;
  const Phase phase = rows.size() <= shape_.decode_rows() && one_row_per_sequence(rows)
                          ? Phase::kDecode
                          : Phase::kPrefill;
  const PipelineStep step{rows, rounds};
  const uint64_t begin = now_ns();
  hand_over_cache({&step, 1}, phase);
  start(0, step, phase, tail);
  do {
    run_segment(0);
  } while (advance(0));
  uses_[static_cast<size_t>(phase)].wall_ns += now_ns() - begin;
}

uint32_t Coordinator::run_pipelined(std::span<const PipelineStep> steps, Phase phase, Tail tail,
                                    uint32_t* finished) {
  TANDEM_CHECK(pipelined_ != nullptr, "%u slot", shape_.slots);
  const uint64_t begin = now_ns();
  schedule(phase, tail);
  hand_over_cache(steps, phase);
  const Pipeline::Result result = pipelined_->run(steps, phase, tail);
  uses_[static_cast<size_t>(phase)].wall_ns += now_ns() - begin;
  if (finished != nullptr) *finished = result.finished;
  if (result.error) std::rethrow_exception(result.error);
  return result.finished;
}

std::span<float> Coordinator::logits(uint32_t output) const {
  const Slot& slot = *slots_[last_slot_];
  TANDEM_CHECK(output < slot.output_count(), "output %u of %u", output, slot.output_count());
  return {slot.operand(Operand::kLogits).row_as<float>(output), config_.vocab};
}

// ---- Reports ------------------------------------------------------------------------------------

void Coordinator::count_memory() {
  for (uint32_t device = 0; device < backends_.size(); ++device) {
    DeviceMemory& memory = memory_[device];
    bool used = false;
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (!runs(plan_, i, device)) continue;
      used = true;
      if (nodes_[i].op != Op::kAttnCore) continue;
      for (const TensorView& view : kv_.layer(nodes_[i].layer))
        if (view.element_count() > 0) memory.cache += view.size();
    }
    if (used) memory.activations = shape_.slots * slots_.front()->size();
    if (scratch_[device]) memory.activations += scratch_[device]->memory.size();
  }
}

size_t Coordinator::activation_size() const {
  size_t total = shape_.slots * slots_.front()->size();
  for (const auto& scratch : scratch_)
    if (scratch) total += scratch->memory.size();
  return total;
}

size_t Coordinator::weight_size() const {
  size_t total = 0;
  for (const DeviceMemory& memory : memory_) total += memory.weights;
  return total;
}

DeviceUse Coordinator::total_use() const {
  DeviceUse total;
  for (const PhaseUse& phase : uses_)
    for (const DeviceUse& use : phase.devices) total += use;
  return total;
}

void Coordinator::reset_counters() {
  for (PhaseUse& phase : uses_) phase = {std::vector<DeviceUse>(backends_.size()), 0};
}

std::vector<uint32_t> Coordinator::node_counts(Phase phase) const {
  std::vector<uint32_t> counts(backends_.size(), 0);
  for (uint32_t device : placement(phase)) ++counts[device];
  return counts;
}

void Coordinator::start_trace(size_t capacity) {
  for (TraceRing& ring : trace_) ring = TraceRing(capacity);
}

std::vector<TraceLane> Coordinator::trace() const {
  std::vector<TraceLane> lanes;
  for (size_t i = 0; i < backends_.size(); ++i)
    lanes.push_back({backends_[i]->info().name, trace_[i].events(), trace_[i].dropped()});
  return lanes;
}

}  // namespace tandem
