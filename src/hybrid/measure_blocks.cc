// SPDX-License-Identifier: Apache-2.0
#include "hybrid/measure_blocks.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>

#include "base/check.h"
#include "base/error.h"
#include "base/host_memory.h"
#include "base/threads.h"
#include "hybrid/node_support.h"
#include "hybrid/segment.h"
#include "hybrid/slot.h"
#include "hybrid/trace.h"
#include "model/kv_cache.h"

namespace tandem {
namespace {

constexpr std::array kPhases = {Phase::kPrefill, Phase::kDecode};
constexpr std::chrono::minutes kTimeout{10};

// As many nodes of a kind run in one program as it takes to read more than caches hold.
constexpr uint64_t kColdBytes = uint64_t{256} << 20;
constexpr size_t kMaxNodes = 8;

// A measurement is the median of runs: a few at least, more while they are short.
constexpr uint32_t kLeastRuns = 3, kMostRuns = 40;
constexpr double kEnoughUs = 3e5;

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// Between two uses of its weights a node's device reads the rest of the model: what was in the
// host's caches is gone. Reads and writes as many bytes of its own.
class CacheFlusher {
 public:
  explicit CacheFlusher(uint64_t size) : bytes_(std::min(size, kColdBytes)) {}
  void flush() {
    for (std::byte& byte : bytes_) byte = static_cast<std::byte>(std::to_integer<int>(byte) + 1);
  }

 private:
  std::vector<std::byte> bytes_;
};

// Some layers of a model as a model of its own, so that caches are made for these alone.
struct Sample {
  std::vector<Node> nodes;  // of the model
  ModelConfig config;       // layer i is that of nodes[i]
};

Sample sample_of(const ModelConfig& config, const ModelWeights& weights, NodeKind kind) {
  std::vector<Node> all;
  for (const Node& node : forward_pass(static_cast<uint32_t>(config.layers.size())))
    if (node_kind(node.op, config.layers[node.layer].window == 0) == kind) all.push_back(node);
  Sample sample;
  sample.config = config;
  sample.config.layers.clear();
  if (all.empty()) return sample;
  const uint64_t size = std::max<uint64_t>(1, weights.node(all[0].op, all[0].layer).size());
  const size_t wanted = std::clamp<size_t>(kColdBytes / size, 2, kMaxNodes);
  const size_t count = std::min(all.size(), wanted);
  for (size_t i = 0; i < count; ++i) {  // spread over the model: files mix types by depth
    sample.nodes.push_back(all[i * all.size() / count]);
    sample.config.layers.push_back(config.layers[sample.nodes.back().layer]);
  }
  return sample;
}

// Memory that a step of a certain size needs.
class StepMemory {
 public:
  StepMemory(const ModelConfig& config, const CoordinatorShape& shape)
      : shape_(shape),
        layer_count_(static_cast<uint32_t>(config.layers.size())),
        slot_(config, shape),
        kv_(config, {shape.context, shape.max_rows, shape.sequences, shape.kv}) {
    size_t scratch_size = 0;
    const auto dims = [&](Operand o) { return operand_dims(o, config, shape); };
    for (uint32_t i = 0; i < kOperandCount; ++i)
      if (is_scratch(Operand(i))) scratch_size += Arena::size_of(DType::kF32, dims(Operand(i)));
    scratch_memory_ = std::make_unique<SharedMemory>(scratch_size, "scratch");
    Arena arena(*scratch_memory_);
    for (uint32_t i = 0; i < kOperandCount; ++i)
      if (is_scratch(Operand(i))) scratch_[i] = arena.allocate(DType::kF32, dims(Operand(i)));
    // Pages that nobody wrote share one page of zeros, which caches hold.
    constexpr int kSmallFloats = 0x11;
    for (uint32_t layer = 0; layer < layer_count_; ++layer)
      for (const TensorView& view : kv_.layer(layer))
        if (view.element_count() > 0)
          std::memset(view.memory->data() + view.offset, kSmallFloats, view.size());
  }

  const CoordinatorShape& shape() const { return shape_; }
  Slot& slot() { return slot_; }

  const TensorView& view(Operand operand, uint32_t layer) const {
    const auto index = static_cast<size_t>(operand);
    if (is_kv(operand)) return kv_.layer(layer)[index - static_cast<size_t>(Operand::kK)];
    return is_scratch(operand) ? scratch_[index] : slot_.operand(operand);
  }

  // The rows of a step as a workload has them; makes them and the caches visible to the device.
  void write(Phase phase, uint32_t rows, uint32_t position, Backend& device) {
    std::vector<StepRow> list(rows);
    for (uint32_t i = 0; i < rows; ++i)
      list[i] = phase == Phase::kPrefill ? StepRow{i, 0, position + i, i + 1 == rows}
                                         : StepRow{i, i, position, true};
    slot_.write(list);
    slot_.import_on(device).acquire(Access::kRead, 0, slot_.size());
    for (uint32_t layer = 0; layer < layer_count_; ++layer)
      for (const TensorView& view : kv_.layer(layer))
        if (view.element_count() > 0)
          view.memory->import_for(device).acquire(Access::kRead, view.offset, view.size());
  }

 private:
  CoordinatorShape shape_;
  uint32_t layer_count_;
  Slot slot_;
  KvCache kv_;
  std::unique_ptr<SharedMemory> scratch_memory_;
  std::array<TensorView, kOperandCount> scratch_{};
};

// The nodes of a sample, loaded on a device and run together in one program.
class NodeBench {
 public:
  NodeBench(Backend& device, const ModelWeights& weights, const Sample& sample,
            std::span<const Phase> phases, const CoordinatorShape& shape, CacheFlusher& flusher)
      : device_(device), sample_(sample), flusher_(flusher) {
    for (uint32_t i = 0; i < sample.nodes.size(); ++i) {
      const Node& node = sample.nodes[i];
      const NodeWeights file = weights.node(node.op, node.layer);
      types_.push_back(file.types());
      ops_ = node_support(device, sample.config, shape, node_at(i), phases, types_[i]).ops;
      const auto views = file.views();
      for (const BlockOp& op : ops_) {
        const std::span<const TensorView> own(views.data() + op.first_weight, op.weight_count);
        const OpSpec spec =
            op_spec(sample.config, shape, node_at(i), op, phases.front(), types_[i]);
        weights_.push_back(op.weight_count > 0 ? device.load(spec, own) : nullptr);
        if (op.weight_count > 0) weight_size_ += weights_.back()->size();
      }
    }
  }

  // Bytes of one node.
  uint64_t weight_size() const { return weight_size_ / sample_.nodes.size(); }

  // Microseconds of all nodes of the sample, launch included. In decode the choice of the token
  // belongs to the head.
  double run_us(Phase phase, uint32_t rows, uint32_t position, StepMemory& memory,
                const std::function<void()>& wake) {
    const std::unique_ptr<Program> program = record(phase, memory);
    memory.write(phase, rows, position, device_);
    std::vector<double> samples;
    double sum = 0;
    run_once(*program);  // warm
    while (samples.size() < kLeastRuns || (sum < kEnoughUs && samples.size() < kMostRuns)) {
      flusher_.flush();
      wake();
      const uint64_t start = now_ns();
      run_once(*program);
      samples.push_back(static_cast<double>(now_ns() - start) * 1e-3);
      sum += samples.back();
      if (sum > 10 * kEnoughUs) break;  // a slow device: fewer runs have to do
    }
    return median(std::move(samples));
  }

  std::unique_ptr<Program> record(Phase phase, StepMemory& memory) {
    kernels_.clear();  // of the program before, which is gone
    std::vector<Step> steps;
    std::vector<std::vector<TensorView>> args;
    const auto add = [&](const BlockOp& op, uint32_t i, const Weights* weights,
                         const WeightTypes& types) {
      kernels_.push_back(
          device_.prepare(op_spec(sample_.config, memory.shape(),
                                  Node{op.op, static_cast<uint16_t>(i)}, op, phase, types),
                          weights));
      std::vector<TensorView>& views = args.emplace_back();
      for (Operand operand : op.operands) views.push_back(memory.view(operand, i));
      steps.push_back({kernels_.back().get(), {}});
    };
    for (uint32_t i = 0; i < sample_.nodes.size(); ++i)
      for (size_t op = 0; op < ops_.size(); ++op)
        add(ops_[op], i, weights_[i * ops_.size() + op].get(), types_[i]);
    const Phase one[] = {phase};
    if (phase == Phase::kDecode && sample_.nodes[0].op == Op::kHead)
      for (const BlockOp& op :
           node_support(device_, sample_.config, memory.shape(), Node{Op::kArgmax}, one, {}).ops)
        add(op, 0, nullptr, {});
    for (size_t i = 0; i < steps.size(); ++i) steps[i].args = args[i];
    return device_.record(steps, memory.slot().batch());
  }

  void run_once(Program& program) {
    const Status status = device_.wait(device_.submit(program, 1), kTimeout);
    if (status != Status::kDone)
      throw Error(ErrorCode::kDeviceLost,
                  fmt::format("{} failed while measuring {}: {}", device_.info().name,
                              op_info(sample_.nodes[0].op).name, device_.failure()));
  }

 private:
  Node node_at(uint32_t index) const {
    return {sample_.nodes[index].op, static_cast<uint16_t>(index)};
  }

  Backend& device_;
  const Sample& sample_;
  CacheFlusher& flusher_;
  std::vector<WeightTypes> types_;                 // by node
  std::span<const BlockOp> ops_;                   // of every node
  std::vector<std::unique_ptr<Weights>> weights_;  // by node, then op
  std::vector<std::unique_ptr<Kernel>> kernels_;   // of the program being run
  uint64_t weight_size_ = 0;
};

// A program that does next to nothing. Run just before another it leaves the device as awake as the
// step before does: threads that slept while caches were flushed would cost milliseconds.
class Waker {
 public:
  Waker(Backend& device, const ModelConfig& config, const ModelWeights& weights,
        const CoordinatorShape& shape, CacheFlusher& flusher)
      : sample_(sample_of(config, weights, NodeKind::kEmbed)) {
    const Phase decode[] = {Phase::kDecode};
    const WeightTypes types = weights.node(Op::kEmbed, 0).types();
    if (node_support(device, sample_.config, shape, {Op::kEmbed}, decode, types).ops.empty())
      return;  // such a device waits for nothing but its own work
    bench_ = std::make_unique<NodeBench>(device, weights, sample_, decode, shape, flusher);
    memory_ = std::make_unique<StepMemory>(sample_.config, shape);
    memory_->write(Phase::kDecode, 1, 0, device);
    program_ = bench_->record(Phase::kDecode, *memory_);
  }
  void wake() {
    if (program_) bench_->run_once(*program_);
  }

 private:
  Sample sample_;
  std::unique_ptr<StepMemory> memory_;
  std::unique_ptr<NodeBench> bench_;
  std::unique_ptr<Program> program_;
};

class Measurement {
 public:
  Measurement(const ModelConfig& config, const ModelWeights& weights,
              const BlockBenchOptions& options)
      : config_(config),
        weights_(weights),
        options_(options),
        model_(shape_of(config, weights, options.kv)),
        flusher_(weights.size_per_token()) {}

  const ModelShape& model() const { return model_; }

  void set_total(uint64_t devices) { total_ = devices * kNodeKindCount; }

  DeviceCost device_cost(Backend& device) {
    const BackendInfo& info = device.info();
    DeviceCost cost;
    cost.name = info.name;
    cost.emulated = info.emulated;
    cost.software = info.software;
    if (info.name == "cpu") cost.host_cores = options_.threads;
    if (info.software) cost.host_cores = default_thread_count();
    cost.read_bandwidth = device.measure_read_bandwidth();
    Waker waker(device, config_, weights_, shape(Phase::kDecode, 1), flusher_);
    wake_ = [&waker] { waker.wake(); };
    for (uint32_t k = 0; k < kNodeKindCount; ++k) {
      if (options_.progress) options_.progress(done_, total_);
      const size_t node_count = measure_kind(device, NodeKind(k), cost);
      ++done_;
      // From the time of a program to that of a node in it.
      for (PhaseCost& phase : cost.nodes[k].phases)
        for (CostPoint& point : phase.points)
          point.us = std::max(0.0, point.us - cost.launch_us) / static_cast<double>(node_count);
    }
    return cost;
  }

  // Between two devices: the residual stream of one row, and of the longest step.
  EdgeCost edge_cost(Backend& from, Backend& to) {
    Slot slot(config_, shape(Phase::kPrefill, options_.prefill_rows.back()));
    const TensorView& x = slot.operand(Operand::kX);
    Import &source = slot.import_on(from), &destination = slot.import_on(to);
    const auto time_us = [&](size_t size) {
      std::vector<double> samples;
      for (uint32_t i = 0; i < kMostRuns; ++i) {
        const uint64_t start = now_ns();
        source.release(Access::kWrite, x.offset, size);
        destination.acquire(Access::kRead, x.offset, size);
        samples.push_back(static_cast<double>(now_ns() - start) * 1e-3);
      }
      return median(std::move(samples));
    };
    const size_t row = x.strides[1], all = row * options_.prefill_rows.back();
    EdgeCost edge{time_us(row), 0};
    if (source.zero_copy() && destination.zero_copy()) return edge;
    const double more_us = time_us(all) - edge.fixed_us;
    if (more_us > 0) edge.bytes_per_second = 1e6 * static_cast<double>(all - row) / more_us;
    return edge;
  }

  // Whether the device works on the host's own pages.
  bool shares_host_memory(Backend& device) {
    Slot slot(config_, shape(Phase::kDecode, 1));
    return slot.import_on(device).zero_copy();
  }

 private:
  CoordinatorShape shape(Phase phase, uint32_t rows) const {
    CoordinatorShape shape;
    shape.max_rows = rows;
    shape.sequences = phase == Phase::kDecode ? rows : 1;
    shape.max_outputs = shape.sequences;
    shape.context = options_.positions.back() + rows;
    shape.kv = options_.kv;
    return shape;
  }

  std::span<const uint32_t> rows_of(Phase phase, NodeKind kind) const {
    static constexpr uint32_t kOne[] = {1};
    if (phase == Phase::kDecode) return options_.sequences;
    if (kind == NodeKind::kHead) return kOne;
    return options_.prefill_rows;
  }

  // Times of whole programs; returns how many nodes those had.
  size_t measure_kind(Backend& device, NodeKind kind, DeviceCost& cost) {
    const Sample sample = sample_of(config_, weights_, kind);
    std::vector<Phase> phases;
    for (Phase phase : kPhases) {
      PhaseCost& phase_cost = cost.node(kind).phase(phase);
      if (sample.nodes.empty()) {
        phase_cost.unsupported = "the model has no such node";
        continue;
      }
      const Phase one[] = {phase};
      const Node& node = sample.nodes[0];
      const NodeSupport support =
          node_support(device, sample.config, shape(phase, rows_of(phase, kind).back()), {node.op},
                       one, weights_.node(node.op, node.layer).types());
      phase_cost.unsupported = support.reason;
      if (!support.ops.empty()) phases.push_back(phase);
    }
    if (phases.empty()) return 1;
    NodeBench bench(device, weights_, sample, phases,
                    shape(phases[0], rows_of(phases[0], kind).back()), flusher_);
    cost.node(kind).weight_bytes = bench.weight_size();
    // Decode first: the launch is known from it.
    std::reverse(phases.begin(), phases.end());
    for (Phase phase : phases) measure_phase(kind, phase, sample, bench, cost);
    return sample.nodes.size();
  }

  void measure_phase(NodeKind kind, Phase phase, const Sample& sample, NodeBench& bench,
                     DeviceCost& cost) {
    const bool is_core = op_of(kind) == Op::kAttnCore;
    for (uint32_t rows : rows_of(phase, kind)) {
      StepMemory memory(sample.config, shape(phase, rows));
      for (uint32_t position : options_.positions) {
        if (!is_core && position > 0) continue;
        const double us = bench.run_us(phase, rows, position, memory, wake_);
        // The first node measured does next to nothing in decode: what it takes is the launch.
        if (kind == NodeKind::kEmbed && phase == Phase::kDecode && rows == 1) cost.launch_us = us;
        cost.node(kind).phase(phase).points.push_back(
            {rows, position, us, work_of(model_, kind, phase, rows, position).bytes()});
      }
    }
  }

  const ModelConfig& config_;
  const ModelWeights& weights_;
  const BlockBenchOptions& options_;
  ModelShape model_;
  CacheFlusher flusher_;
  std::function<void()> wake_;  // the device being measured
  uint64_t done_ = 0, total_ = 0;
};

}  // namespace

CostTable measure_costs(const ModelConfig& config, const ModelWeights& weights,
                        std::span<Backend* const> backends, const BlockBenchOptions& options) {
  TANDEM_CHECK(
      !options.prefill_rows.empty() && !options.sequences.empty() && !options.positions.empty(),
      "nothing to measure");
  Measurement measurement(config, weights, options);
  measurement.set_total(backends.size());
  CostTable table;
  table.machine = "this machine";
  table.model = measurement.model();
  table.host_cores = default_thread_count();
  table.pools = {{"host", available_host_memory()}};
  for (Backend* backend : backends) {
    DeviceCost device = measurement.device_cost(*backend);
    if (!measurement.shares_host_memory(*backend)) {
      device.pool = static_cast<uint32_t>(table.pools.size());
      table.pools.push_back({device.name, backend->available_memory()});
    }
    table.devices.push_back(std::move(device));
  }
  table.edges.assign(backends.size(), std::vector<EdgeCost>(backends.size()));
  for (size_t from = 0; from < backends.size(); ++from)
    for (size_t to = 0; to < backends.size(); ++to)
      if (from != to) table.edges[from][to] = measurement.edge_cost(*backends[from], *backends[to]);
  return table;
}

}  // namespace tandem
