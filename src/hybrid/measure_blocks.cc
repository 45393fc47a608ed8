// SPDX-License-Identifier: Apache-2.0
#include "hybrid/measure_blocks.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/check.h"
#include "base/error.h"
#include "base/host_memory.h"
#include "base/threads.h"
#include "hybrid/slice_bench.h"
#include "hybrid/slot.h"
#include "hybrid/trace.h"
#include "model/kv_cache.h"

namespace tandem {
namespace {

constexpr std::array kPhases = {Phase::kDecode, Phase::kPrefill};

// A measurement is the median of runs: a few at least, more while they are short.
constexpr uint32_t kLeastRuns = 3, kMostRuns = 40;
constexpr double kEnoughUs = 3e5;

// Work before the first measurement: clocks rise, and a virtual machine gets its cores.
constexpr double kWarmUpUs = 1e6;

// A device lies idle for so long before it is woken, as while another device works: its threads are
// asleep.
constexpr uint32_t kIdleUs = 200;

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// The ops of a plan's nodes, whose values begin at 0.
constexpr size_t kOpCount = static_cast<size_t>(Op::kHead) + 1;
size_t index(Op op) { return static_cast<size_t>(op); }

// A pass in one phase, and the same without the nodes of an op.
class PhaseBench {
 public:
  PhaseBench(SliceBench& slice, Phase phase)
      : slice_(slice), phase_(phase), whole_(slice.record(phase, std::nullopt)) {
    for (Op op : {Op::kEmbed, Op::kQkv, Op::kAttnCore, Op::kAttnOut, Op::kFfn, Op::kHead})
      if (slice.supports(op, phase)) {
        ops_.push_back(op);
        without_[index(op)] = slice.record(phase, op);
      }
  }

  Phase phase() const { return phase_; }
  const std::vector<Op>& ops() const { return ops_; }  // that the device supports

  void warm_up() {
    slice_.set_step(phase_, 1, 0);
    for (double sum = 0; sum < kWarmUpUs;) sum += slice_.run_us(whole_);
  }

  struct Times {
    double whole_us = 0;
    std::array<double, kOpCount> saved_us{};  // by leaving out all nodes of an op
  };
  // What is compared runs in turn: whatever disturbs the machine for a while disturbs all of it.
  Times run(std::span<const Op> ops, uint32_t rows, uint32_t position) {
    slice_.set_step(phase_, rows, position);
    std::vector<double> whole;
    std::array<std::vector<double>, kOpCount> saved;
    double sum = 0;
    slice_.run_us(whole_);  // touches what it works on
    while (whole.size() < kLeastRuns || (sum < kEnoughUs && whole.size() < kMostRuns)) {
      whole.push_back(slice_.run_us(whole_));
      for (Op op : ops)
        saved[index(op)].push_back(whole.back() - slice_.run_us(without_[index(op)]));
      sum += whole.back();
      if (sum > 10 * kEnoughUs) break;  // a slow device: fewer runs have to do
    }
    Times times{median(std::move(whole)), {}};
    for (Op op : ops)
      times.saved_us[index(op)] = std::max(0.0, median(std::move(saved[index(op)])));
    return times;
  }

  // What each more program takes into which a pass is cut, with a pause before each.
  double launch_us(uint32_t pause_us) {
    const Pass apart = slice_.record_apart(phase_);
    if (apart.size() < 2) return 0;
    slice_.set_step(phase_, 1, 0);
    std::vector<double> more;
    for (double sum = 0;
         more.size() < kLeastRuns || (sum < kEnoughUs && more.size() < kMostRuns);) {
      const double apart_us = slice_.run_us(apart, pause_us);
      slice_.run_us(whole_);  // awake again
      more.push_back(apart_us - slice_.run_us(whole_));
      sum += apart_us;
    }
    return std::max(0.0, median(std::move(more)) / static_cast<double>(apart.size() - 1));
  }

 private:
  SliceBench& slice_;
  Phase phase_;
  std::vector<Op> ops_;
  Pass whole_;
  std::array<Pass, kOpCount> without_;
};

// Fills in what the nodes of a device cost in one phase.
class PhaseCosts {
 public:
  PhaseCosts(const SliceBench& slice, PhaseBench& bench, const ModelShape& model, DeviceCost& cost)
      : slice_(slice), bench_(bench), model_(model), cost_(cost) {}

  // Shares what a pass at position 0 takes, but for its launch, among its nodes by what leaving
  // them out saves. So the nodes of a pass add up to the pass. A prompt has one output, whatever
  // its rows: its head is measured with the first.
  void measure_pass(uint32_t rows) {
    std::vector<Op> open = bench_.ops();
    if (head_us_) std::erase(open, Op::kHead);
    const PhaseBench::Times times = bench_.run(open, rows, 0);
    // A disturbed measurement of the launch can be longer than a short pass.
    double left = times.whole_us - std::min(cost_.launch_us, times.whole_us / 2);
    left -= head_us_.value_or(0);
    double sum = 0;
    for (Op op : open) sum += times.saved_us[index(op)];
    share_ = sum > 0 ? std::max(0.0, left) / sum : 0;
    for (Op op : open) {
      const double us = share_ * times.saved_us[index(op)];
      if (op == Op::kHead && bench_.phase() == Phase::kPrefill) head_us_ = us;
      if (op == Op::kAttnCore)
        add_cores(rows, 0, us);
      else
        add(node_kind(op, false), rows, 0, us / slice_.count(node_kind(op, false)));
    }
  }

  // On a position before the step only attention depends.
  void measure_position(uint32_t rows, uint32_t position) {
    const Op core[] = {Op::kAttnCore};
    if (!slice_.supports(Op::kAttnCore, bench_.phase())) return;
    add_cores(rows, position, share_ * bench_.run(core, rows, position).saved_us[index(core[0])]);
  }

 private:
  void add(NodeKind kind, uint32_t rows, uint32_t position, double us) {
    const Phase phase = bench_.phase();
    if (kind == NodeKind::kHead && phase == Phase::kPrefill) rows = 1;
    cost_.node(kind).phase(phase).points.push_back(
        {rows, position, us, work_of(model_, kind, phase, rows, position).bytes()});
  }

  // What all cores take together: at position 0 in proportion to their operations, and what they
  // take more at others in proportion to the operations more.
  void add_cores(uint32_t rows, uint32_t position, double us) {
    struct Core {
      NodeKind kind;
      double operations, base_us;
    };
    std::vector<Core> cores;
    double operations = 0;
    for (NodeKind kind : {NodeKind::kCoreWindowed, NodeKind::kCoreGlobal}) {
      if (!slice_.refusal(kind, bench_.phase()).empty()) continue;
      const auto operations_at = [&](uint32_t at) {
        return work_of(model_, kind, bench_.phase(), rows, at).attention_operations;
      };
      Core core{kind, operations_at(position), 0};
      if (position > 0) {
        core.operations -= operations_at(0);
        core.base_us = cost_.node(kind).phase(bench_.phase()).at(rows, 0).us;
        us -= slice_.count(kind) * core.base_us;
      }
      operations += slice_.count(kind) * core.operations;
      cores.push_back(core);
    }
    const double rate = operations > 0 ? std::max(0.0, us) / operations : 0;
    for (const Core& core : cores)
      add(core.kind, rows, position, core.base_us + rate * core.operations);
  }

  const SliceBench& slice_;
  PhaseBench& bench_;
  const ModelShape& model_;
  DeviceCost& cost_;
  double share_ = 1;               // of what was saved last at position 0
  std::optional<double> head_us_;  // of a prompt, once known
};

class Measurement {
 public:
  Measurement(const ModelConfig& config, const ModelWeights& weights,
              const BlockBenchOptions& options, uint64_t device_count)
      : config_(config),
        weights_(weights),
        options_(options),
        model_(shape_of(config, weights, options.kv)),
        slice_(slice_of(config, weights)),
        total_(device_count * options.positions.size() *
               (options.prefill_rows.size() + options.sequences.size())) {}

  const ModelShape& model() const { return model_; }

  DeviceCost device_cost(Backend& device) {
    const BackendInfo& info = device.info();
    DeviceCost cost;
    cost.name = info.name;
    cost.emulated = info.emulated;
    cost.software = info.software;
    if (info.name == "cpu") cost.host_cores = options_.threads;
    if (info.software) cost.host_cores = default_thread_count();
    cost.read_bandwidth = device.measure_read_bandwidth();
    // Decode first: launches are measured in it where the device has it. A step of many sequences
    // runs other programs than a step of few that has rows to spare.
    for (uint32_t sequences : options_.sequences) {
      SliceBench slice(device, slice_, weights_, shape(sequences));
      if (sequences == options_.sequences.front()) describe_nodes(slice, cost);
      measure_phase(slice, Phase::kDecode, {&sequences, 1}, cost);
      if (sequences == options_.sequences.back())
        measure_phase(slice, Phase::kPrefill, options_.prefill_rows, cost);
    }
    return cost;
  }

  // Between two devices: the residual stream of one row, and of the longest step.
  EdgeCost edge_cost(Backend& from, Backend& to) {
    Slot slot(config_, shape(1));
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

 private:
  // Of an engine whose prompts come in steps of the most rows.
  CoordinatorShape shape(uint32_t sequences) const {
    CoordinatorShape shape;
    shape.sequences = shape.max_outputs = sequences;
    shape.max_rows = std::max(options_.prefill_rows.back(), shape.sequences);
    shape.context = options_.positions.back() + shape.max_rows;
    shape.kv = options_.kv;
    return shape;
  }

  static void describe_nodes(const SliceBench& slice, DeviceCost& cost) {
    for (uint32_t k = 0; k < kNodeKindCount; ++k) {
      const auto kind = static_cast<NodeKind>(k);
      cost.node(kind).weight_bytes = slice.weight_size(kind);
      for (Phase phase : kPhases)
        cost.node(kind).phase(phase).unsupported = slice.refusal(kind, phase);
    }
  }

  void measure_phase(SliceBench& slice, Phase phase, std::span<const uint32_t> row_counts,
                     DeviceCost& cost) {
    PhaseBench bench(slice, phase);
    if (bench.ops().empty()) return;
    if (device_ != cost.name) {
      bench.warm_up();
      cost.launch_us = bench.launch_us(0);
      cost.wake_us = std::max(0.0, bench.launch_us(kIdleUs) - cost.launch_us);
      device_ = cost.name;
    }
    PhaseCosts costs(slice, bench, model_, cost);
    for (uint32_t rows : row_counts)
      for (uint32_t position : options_.positions) {
        if (options_.progress) options_.progress(done_++, total_);
        if (position == 0)
          costs.measure_pass(rows);
        else
          costs.measure_position(rows, position);
      }
  }

  const ModelConfig& config_;
  const ModelWeights& weights_;
  const BlockBenchOptions& options_;
  ModelShape model_;
  Slice slice_;
  std::string device_;  // that is warm
  uint64_t done_ = 0, total_;
};

}  // namespace

CostTable measure_costs(const ModelConfig& config, const ModelWeights& weights,
                        std::span<Backend* const> backends, const BlockBenchOptions& options) {
  TANDEM_CHECK(!options.prefill_rows.empty() && !options.sequences.empty() &&
                   !options.positions.empty() && options.positions.front() == 0,
               "nothing to measure");
  Measurement measurement(config, weights, options, backends.size());
  CostTable table;
  table.machine = "this machine";
  table.model = measurement.model();
  table.host_cores = default_thread_count();
  table.pools = {{"host", available_host_memory()}};
  for (Backend* backend : backends) {
    DeviceCost device = measurement.device_cost(*backend);
    const uint64_t memory_size = backend->available_memory();
    if (!backend->info().host_memory) {
      device.pool = static_cast<uint32_t>(table.pools.size());
      table.pools.push_back({device.name, memory_size});
    } else if (memory_size < table.pools.front().size) {
      device.memory_size = memory_size;
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
