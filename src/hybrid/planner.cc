// A plan is a walk along the chain of nodes. The state at a node is the pair of devices that run it
// in prefill and in decode: the two phases meet only in memory, where a node's weights count twice
// if its devices differ. Entering a node costs its time there and, from another device, a hand-over
// and a launch. chain.h finds the cheapest walk.
// SPDX-License-Identifier: Apache-2.0
#include "hybrid/planner.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <optional>

#include "base/error.h"
#include "hybrid/chain.h"
#include "hybrid/plan_memory.h"
#include "hybrid/refine.h"
#include "hybrid/simulator.h"

namespace tandem {
namespace {

constexpr double kImpossible = std::numeric_limits<double>::infinity();
constexpr uint32_t kMaxDevices = 6;
constexpr uint32_t kMaxRounds = 32;    // tokens that a device generates in one submission, at most
constexpr double kTolerance = 0.25;    // of plans for overlap, which are refined afterwards
constexpr size_t kRefined = 3;         // of the plans found, so many are refined by simulation
constexpr uint32_t kJudgedTokens = 8;  // generated for each sequence, where plans are compared

// Latency adds up all times; overlap, where several steps are in flight, is as slow as the device
// with most to do.
enum class Objective : uint8_t { kLatency, kOverlap };

// Microseconds of a whole phase: of nodes by device and kind, and of entering a device from another
// or, at the first node, from none.
class PhaseTotals {
 public:
  PhaseTotals(const CostTable& table, const Workload& workload) {
    const std::vector<WorkStep> steps = steps_of(workload);
    const auto devices = static_cast<uint32_t>(table.devices.size());
    for (uint32_t to = 0; to < devices; ++to) {
      Device& device = devices_.emplace_back();
      device.entry_us.resize(devices + 1);
      for (uint32_t k = 0; k < kNodeKindCount; ++k) {
        const auto kind = static_cast<NodeKind>(k);
        const bool supported = table.devices[to].node(kind).phase(workload.phase).supported();
        for (const WorkStep& step : steps) {
          device.node_us[k] +=
              supported ? node_time(table, to, kind, workload.phase, step).us : kImpossible;
          if (passes_over(kind, step)) continue;
          const NodeKind before = kind == NodeKind::kHead ? NodeKind::kFfn : kind;
          device.entry_us[devices][k] += entry_us(table, kNoDevice, to, before, step);
          for (uint32_t from = 0; from < devices; ++from)
            if (from != to) device.entry_us[from][k] += entry_us(table, from, to, before, step);
        }
      }
    }
  }

  double node_us(uint32_t device, NodeKind kind) const {
    return devices_[device].node_us[static_cast<size_t>(kind)];
  }
  double entry(uint32_t from, uint32_t to, NodeKind before, NodeKind node) const {
    const size_t origin = from == kNoDevice ? devices_.size() : from;
    const NodeKind kind = node == NodeKind::kHead ? node : before;
    return devices_[to].entry_us[origin][static_cast<size_t>(kind)];
  }

 private:
  using ByKind = std::array<double, kNodeKindCount>;
  struct Device {
    ByKind node_us{};
    // By the device before (the last: none) and the kind of node there; the head's: before the
    // head.
    std::vector<ByKind> entry_us;
  };
  std::vector<Device> devices_;
};

// The prompt's keys and values of layers whose attention prompts and generation run on different
// devices change hands once.
double cache_hand_over_us(const CostTable& table, const Plan& plan, const PlanRequest& request) {
  const std::vector<NodeKind> kinds = table.model.nodes();
  double us = 0;
  for (size_t i = 0; i < kinds.size(); ++i) {
    if (op_of(kinds[i]) != Op::kAttnCore || plan.prefill[i] == plan.decode[i]) continue;
    const uint32_t p = table.device(plan.devices[plan.prefill[i]]);
    const uint32_t d = table.device(plan.devices[plan.decode[i]]);
    us +=
        table.edges[p][d].us(static_cast<double>(table.model.kv_position_size()) * request.prompt);
  }
  return us;
}

void drop_unused_devices(Plan& plan) {
  std::vector<std::string> names;
  std::vector<uint32_t> renamed(plan.devices.size(), kNoDevice);
  for (std::vector<uint32_t>* nodes : {&plan.prefill, &plan.decode})
    for (uint32_t& device : *nodes) {
      if (renamed[device] == kNoDevice) {
        renamed[device] = static_cast<uint32_t>(names.size());
        names.push_back(plan.devices[device]);
      }
      device = renamed[device];
    }
  plan.devices = names;
}

// Simulates plans that differ little from each other: the phase that did not change is remembered.
class RequestJudge {
 public:
  RequestJudge(const CostTable& table, const PlanRequest& request)
      : table_(table), request_(request) {}

  double us(const Plan& plan) {
    if (planned_shortfall(table_, plan, request_.shape(table_, plan))) return kImpossible;
    return phase_us(plan, plan.prefill, request_.prefill(plan), prefill_) + decode_us(plan) +
           cache_hand_over_us(table_, plan, request_);
  }

 private:
  struct Last {
    std::vector<uint32_t> devices;
    double us = 0;
  };

  // Some tokens in the middle stand for all: one takes as long as another, nearly.
  double decode_us(const Plan& plan) {
    Workload work = request_.decode(plan);
    const uint32_t tokens = std::min(work.tokens, kJudgedTokens);
    const double share = static_cast<double>(work.tokens) / tokens;
    work.position += (work.tokens - tokens) / 2;
    work.tokens = tokens;
    return share * phase_us(plan, plan.decode, work, decode_);
  }

  double phase_us(const Plan& plan, const std::vector<uint32_t>& devices, const Workload& work,
                  Last& last) {
    if (devices != last.devices) last = {devices, simulate(table_, plan, work).us};
    return last.us;
  }

  const CostTable& table_;
  const PlanRequest& request_;
  Last prefill_, decode_;
};

class Planner {
 public:
  Planner(const CostTable& table, const PlanRequest& request, uint32_t chunk, Objective objective)
      : table_(table),
        request_(request),
        objective_(objective),
        kinds_(table.model.nodes()),
        devices_(static_cast<uint32_t>(table.devices.size())),
        plan_(empty_plan(chunk)),
        shape_(request.shape(table, plan_)),
        memories_(memory_groups(table)),
        prefill_(table, request.prefill(plan_)),
        decode_(table, request.decode(plan_)) {
    const ModelConfig config = table.model.config();
    for (uint32_t layer = 0; layer < config.layers.size(); ++layer)
      cache_size_[table.model.global[layer]] = layer_cache_size(config, layer, shape_);
    const uint64_t fixed = Coordinator::activation_size(config, shape_) + kMemoryMargin;
    excluded_.resize(devices_);
    for (MemoryGroup& memory : memories_) {
      if (memory.size < fixed)
        for (uint32_t device : memory.devices) excluded_[device] = true;
      memory.size -= std::min(memory.size, fixed);
    }
  }

  // nullopt: nothing fits into memory.
  std::optional<Plan> run() const {
    const std::optional<Walk> walk = best(std::nullopt);
    if (!walk) return std::nullopt;
    Plan plan = plan_of(*walk);
    if (!table_.model.tied || !planned_shortfall(table_, plan, shape_)) return plan;
    std::optional<Walk> least;
    for (uint32_t head = 0; head < devices_ * devices_; ++head)
      if (const auto other = best(head); other && (!least || other->objective < least->objective))
        least = other;
    if (!least) return std::nullopt;
    return plan_of(*least);
  }

 private:
  Plan empty_plan(uint32_t chunk) const {
    Plan plan;
    plan.model = model_label(table_.model.layer_count());
    for (const DeviceCost& device : table_.devices) plan.devices.push_back(device.name);
    plan.chunk = chunk;
    plan.pipeline_depth = objective_ == Objective::kOverlap ? request_.depth : 1;
    plan.kv = table_.model.kv;
    return plan;
  }

  Plan plan_of(const Walk& walk) const {
    Plan plan = plan_;
    for (uint32_t state : walk.states) {
      plan.prefill.push_back(state / devices_);
      plan.decode.push_back(state % devices_);
    }
    drop_unused_devices(plan);
    return plan;
  }

  // Of walks that end in a state of the head. A device that runs the head holds a tied embedding
  // with it; without a state given the embedding takes no memory, which never excludes a plan.
  std::optional<Walk> best(std::optional<uint32_t> head) const {
    Chain chain;
    chain.node_count = static_cast<uint32_t>(kinds_.size());
    chain.state_count = devices_ * devices_;
    chain.load_count = objective_ == Objective::kLatency ? 1 : devices_;
    chain.stock_count = static_cast<uint32_t>(memories_.size());
    chain.allocate();
    for (uint32_t i = 0; i < chain.stock_count; ++i)
      chain.limits[chain.load_count + i] = static_cast<double>(memories_[i].size);
    for (uint32_t node = 0; node < chain.node_count; ++node)
      for (uint32_t from = 0; from < (node == 0 ? 1 : chain.state_count); ++from)
        for (uint32_t to = 0; to < chain.state_count; ++to)
          if (node + 1 < chain.node_count || !head || to == *head)
            chain.step(node, from, to) = step(chain, node, from, to, head);
    return best_walk(chain, objective_ == Objective::kLatency ? 0 : kTolerance);
  }

  std::optional<Amounts> step(const Chain& chain, uint32_t node, uint32_t from, uint32_t to,
                              std::optional<uint32_t> head) const {
    const NodeKind kind = kinds_[node], before = kinds_[node == 0 ? 0 : node - 1];
    const uint32_t p = to / devices_, d = to % devices_;
    const uint32_t p0 = node == 0 ? kNoDevice : from / devices_;
    const uint32_t d0 = node == 0 ? kNoDevice : from % devices_;
    const double prefill_us = prefill_.node_us(p, kind) + prefill_.entry(p0, p, before, kind);
    double other_us = decode_.node_us(d, kind) + decode_.entry(d0, d, before, kind);
    if (op_of(kind) == Op::kAttnCore && p != d)  // the prompt's keys and values change hands
      other_us += table_.edges[p][d].us(static_cast<double>(table_.model.kv_position_size()) *
                                        request_.prompt);
    if (prefill_us == kImpossible || other_us == kImpossible || excluded_[p] || excluded_[d])
      return std::nullopt;
    Amounts amounts{};
    amounts[objective_ == Objective::kLatency ? 0 : p] = prefill_us;
    for (uint32_t load = 0; load < chain.load_count; ++load) amounts[load] += other_us;
    for (size_t i = 0; i < memories_.size(); ++i) {
      const MemoryGroup& memory = memories_[i];
      uint64_t size = 0;
      if (memory.contains(p)) size += weight_size(kind, p, head);
      if (memory.contains(d) && d != p) size += weight_size(kind, d, head);
      if (op_of(kind) == Op::kAttnCore && (memory.contains(p) || memory.contains(d)))
        size += cache_size_[kind == NodeKind::kCoreGlobal];
      amounts[chain.load_count + i] = static_cast<double>(size);
    }
    return amounts;
  }

  uint64_t weight_size(NodeKind kind, uint32_t device, std::optional<uint32_t> head) const {
    if (kind == NodeKind::kEmbed && table_.model.tied &&
        (!head || device == *head / devices_ || device == *head % devices_))
      return 0;
    return table_.devices[device].node(kind).weight_bytes;
  }

  const CostTable& table_;
  const PlanRequest& request_;
  Objective objective_;
  std::vector<NodeKind> kinds_;
  uint32_t devices_;
  Plan plan_;  // without its nodes
  CoordinatorShape shape_;
  std::vector<MemoryGroup> memories_;     // what is left of them for weights and caches
  std::vector<bool> excluded_;            // devices without memory for what any plan takes
  std::array<uint64_t, 2> cache_size_{};  // of a layer: windowed, global
  PhaseTotals prefill_, decode_;
};

// The fastest of the plans offered that fit.
class Choice {
 public:
  Choice(const CostTable& table, const PlanRequest& request) : table_(table), request_(request) {}

  void offer(const Plan& plan) {
    if (planned_shortfall(table_, plan, request_.shape(table_, plan))) return;
    const double us = predict(table_, plan, request_).us();
    if (us >= us_) return;
    plan_ = plan;
    us_ = us;
  }
  const std::optional<Plan>& plan() const { return plan_; }

 private:
  const CostTable& table_;
  const PlanRequest& request_;
  std::optional<Plan> plan_;
  double us_ = kImpossible;
};

void keep_best(std::vector<Plan>& plans, size_t count, const PlanJudge& judge) {
  std::vector<std::pair<double, size_t>> order;
  for (size_t i = 0; i < plans.size(); ++i) order.emplace_back(judge(plans[i]), i);
  std::sort(order.begin(), order.end());
  std::vector<Plan> best;
  for (size_t i = 0; i < std::min(count, order.size()); ++i) best.push_back(plans[order[i].second]);
  plans = std::move(best);
}

std::vector<uint32_t> candidate_chunks(const CostTable& table, const PlanRequest& request) {
  if (request.chunk > 0) return {request.chunk};
  std::vector<uint32_t> chunks;
  for (uint32_t rows : table.chunks())
    if (chunks.empty() || rows <= request.prompt) chunks.push_back(rows);
  if (chunks.empty()) chunks.push_back(std::min(request.prompt, 512u));
  return chunks;
}

bool runs_everything(const DeviceCost& device) {
  return std::all_of(device.nodes.begin(), device.nodes.end(), [](const NodeCost& node) {
    return node.phase(Phase::kPrefill).supported() && node.phase(Phase::kDecode).supported();
  });
}

// Plans with several steps in flight that are worth refining: the sequential plan's devices, the
// balanced shares, and half of the layers on each of two devices.
std::vector<Plan> overlapping_starts(const CostTable& table, const PlanRequest& request,
                                     const Plan& sequential) {
  std::vector<Plan> starts = {sequential};
  starts.front().pipeline_depth = request.depth;
  if (const auto plan = Planner(table, request, sequential.chunk, Objective::kOverlap).run())
    starts.push_back(*plan);
  for (const DeviceCost& first : table.devices)
    for (const DeviceCost& second : table.devices) {
      if (&first == &second || !runs_everything(first) || !runs_everything(second)) continue;
      Plan plan = starts.front();
      plan.devices = {first.name, second.name};
      const size_t half = plan.prefill.size() / 2;
      std::fill(plan.prefill.begin(), plan.prefill.end(), 1);
      std::fill_n(plan.prefill.begin(), half, 0);
      plan.decode = plan.prefill;
      starts.push_back(std::move(plan));
    }
  return starts;
}

void check_all_nodes_supported(const CostTable& table) {
  for (uint32_t k = 0; k < kNodeKindCount; ++k)
    for (Phase phase : {Phase::kPrefill, Phase::kDecode}) {
      std::string reasons;
      for (const DeviceCost& device : table.devices) {
        const PhaseCost& cost = device.node(NodeKind(k)).phase(phase);
        if (cost.supported()) {
          reasons.clear();
          break;
        }
        reasons +=
            fmt::format("{}{}: {}", reasons.empty() ? "" : "; ", device.name, cost.unsupported);
      }
      if (!reasons.empty())
        throw Error(ErrorCode::kUnsupported,
                    fmt::format("no device of {} runs {} ({}); add the CPU", table.machine,
                                node_kind_name(NodeKind(k)), reasons));
    }
}

}  // namespace

Workload PlanRequest::prefill(const Plan& plan) const {
  Workload work;
  work.phase = Phase::kPrefill;
  work.tokens = prompt;
  work.chunk = plan.chunk > 0 ? plan.chunk : work.chunk;
  work.depth = plan.pipeline_depth;
  return work;
}

Workload PlanRequest::decode(const Plan& plan) const {
  Workload work;
  work.phase = Phase::kDecode;
  work.tokens = generate;
  work.position = prompt;
  work.sequences = sequences;
  work.depth = plan.pipeline_depth;
  return work;
}

CoordinatorShape PlanRequest::shape(const CostTable& table, const Plan& plan) const {
  CoordinatorShape shape;
  shape.context = context_or_least();
  shape.max_rows = std::max(std::min(prefill(plan).chunk, shape.context), sequences);
  shape.max_outputs = shape.sequences = sequences;
  shape.kv = plan.kv.value_or(table.model.kv);
  shape.slots = plan.pipeline_depth;
  shape.max_rounds = kMaxRounds;
  return shape;
}

Prediction predict(const CostTable& table, const Plan& plan, const PlanRequest& request) {
  const Simulation prompt = simulate(table, plan, request.prefill(plan));
  const Simulation generate = simulate(table, plan, request.decode(plan));
  Prediction prediction;
  prediction.prompt_us = prompt.us;
  prediction.prompt_tokens_per_second = prompt.tokens_per_second;
  prediction.generate_us = generate.us;
  prediction.generate_tokens_per_second = generate.tokens_per_second;
  prediction.cache_hand_over_us = cache_hand_over_us(table, plan, request);
  return prediction;
}

Plan make_plan(const CostTable& table, const PlanRequest& request) {
  check_all_nodes_supported(table);
  if (table.devices.size() > kMaxDevices)
    throw Error(ErrorCode::kUsage,
                fmt::format("{} devices; the planner takes at most {}, name those to use",
                            table.devices.size(), kMaxDevices));
  Choice best(table, request);
  std::vector<Plan> starts;
  for (uint32_t chunk : candidate_chunks(table, request)) {
    const auto plan = Planner(table, request, chunk, Objective::kLatency).run();
    if (!plan) continue;
    best.offer(*plan);
    if (request.depth < 2) continue;
    for (const Plan& start : overlapping_starts(table, request, *plan)) starts.push_back(start);
  }
  keep_best(starts, kRefined,
            [&](const Plan& plan) { return RequestJudge(table, request).us(plan); });
  for (const Plan& start : starts) {
    RequestJudge judge(table, request);
    Plan refined = refine(table, start, [&](const Plan& plan) { return judge.us(plan); });
    drop_unused_devices(refined);
    best.offer(refined);
  }
  if (!best.plan())
    throw Error(ErrorCode::kOutOfMemory,
                fmt::format("no plan of {} fits into the memory of {} with a context of {}; use a "
                            "shorter one (-c) or a smaller model",
                            table.model.name, table.machine, request.context_or_least()));
  return *best.plan();
}

}  // namespace tandem
