// SPDX-License-Identifier: Apache-2.0
#include "hybrid/simulator.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <limits>
#include <optional>

#include "base/check.h"
#include "base/error.h"
#include "base/json_value.h"
#include "hybrid/contention.h"

namespace tandem {
namespace {

constexpr double kNegligibleUs = 1e-9;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// A segment for an item. First what no other device disturbs, then the nodes, then handing over
// what others go on with.
struct Task {
  uint32_t item = 0;
  PlanSegment segment;
  double fixed_us = 0;    // the launch, taking over
  double release_us = 0;  // handing over
  bool passed_over = false;
  std::vector<NodeTime> nodes;

  double alone_us() const {
    double sum = fixed_us + release_us;
    for (const NodeTime& node : nodes) sum += node.us;
    return sum;
  }
};

// Tasks by item, then by segment. Task (i, s) waits for (i, s - 1), and for (i - 1, s): chunks
// write the cache in order, and groups take turns. (i, 0) also waits for the end of item i - depth.
struct TaskList {
  std::vector<Task> tasks;
  uint32_t segments = 0, items = 0, depth = 1;

  size_t index(uint32_t item, uint32_t segment) const { return size_t{item} * segments + segment; }

  template <typename Visit>
  void for_each_predecessor(size_t task, Visit visit) const {
    const auto item = static_cast<uint32_t>(task / segments);
    const auto segment = static_cast<uint32_t>(task % segments);
    if (segment > 0) visit(task - 1);
    if (item > 0) visit(task - segments);
    if (segment == 0 && item >= depth) visit(index(item - depth, segments - 1));
  }

  template <typename Visit>
  void for_each_successor(size_t task, Visit visit) const {
    const auto item = static_cast<uint32_t>(task / segments);
    const auto segment = static_cast<uint32_t>(task % segments);
    if (segment + 1 < segments) visit(task + 1);
    if (item + 1 < items) visit(task + segments);
    if (segment + 1 == segments && item + depth < items) visit(index(item + depth, 0));
  }
};

// The times of a step's nodes, looked up once for each device and kind.
class StepTimes {
 public:
  StepTimes(const CostTable& table, Phase phase, const WorkStep& step)
      : table_(table), phase_(phase), step_(step), known_(table.devices.size() * kNodeKindCount) {}

  const NodeTime& of(uint32_t device, NodeKind kind) {
    std::optional<NodeTime>& time = known_[device * kNodeKindCount + static_cast<size_t>(kind)];
    if (!time) time = node_time(table_, device, kind, phase_, step_);
    return *time;
  }

 private:
  const CostTable& table_;
  Phase phase_;
  const WorkStep& step_;
  std::vector<std::optional<NodeTime>> known_;
};

TaskList tasks_of(const CostTable& table, const Plan& plan, const Workload& work) {
  const std::vector<PlanSegment> segments = segments_of(table, plan, work.phase);
  const std::vector<NodeKind> kinds = table.model.nodes();
  TaskList list;
  list.segments = static_cast<uint32_t>(segments.size());
  list.depth = work.in_flight();
  for (const WorkStep& step : steps_of(work)) {
    StepTimes times(table, work.phase, step);
    uint32_t from = kNoDevice;
    for (const PlanSegment& segment : segments) {
      const NodeKind before = kinds[segment.first == 0 ? 0 : segment.first - 1];
      Task task{list.items, segment, 0, 0, passes_over(kinds[segment.first], step), {}};
      if (task.passed_over) {
        list.tasks.push_back(task);
        break;
      }
      task.fixed_us = entry_us(table, from, segment.device, before, step);
      if (from != kNoDevice) {
        const double at_source = source_share(table, from, segment.device) *
                                 hand_over_us(table, from, segment.device, before, step);
        task.fixed_us -= at_source;
        list.tasks.back().release_us = at_source;
      }
      for (uint32_t i = segment.first; i < segment.end; ++i)
        task.nodes.push_back(times.of(segment.device, kinds[i]));
      list.tasks.push_back(std::move(task));
      from = segment.device;
    }
    ++list.items;
  }
  return list;
}

class Machine {
 public:
  Machine(const CostTable& table, const TaskList& list)
      : list_(list),
        contention_(table),
        running_(table.devices.size()),
        demands_(table.devices.size()),
        ready_(table.devices.size()),
        waiting_for_(list.tasks.size(), 0) {
    for (size_t task = 0; task < list.tasks.size(); ++task) {
      list.for_each_predecessor(task, [&](size_t) { ++waiting_for_[task]; });
      if (waiting_for_[task] == 0) make_ready(task);
    }
    result_.busy_us.assign(table.devices.size(), 0);
    result_.bytes.assign(table.devices.size(), 0);
  }

  Simulation run() {
    while (done_ < list_.tasks.size()) {
      start_ready();
      advance();
      finish_ended();
    }
    result_.us = now_;
    return std::move(result_);
  }

 private:
  struct Running {
    const Task* task = nullptr;
    size_t next_node = 0;  // nodes before it are done or under way
    double left_us = 0;    // of the current piece, at full speed
    NodeTime piece;        // no bytes while fixed
    double start_us = 0;
    bool fixed = true, releasing = false;
  };

  // Every idle device takes the task that has been ready longest.
  void start_ready() {
    for (size_t d = 0; d < running_.size(); ++d) {
      if (running_[d].task != nullptr || ready_[d].empty()) continue;
      const Task& task = list_.tasks[ready_[d].front()];
      ready_[d].pop_front();
      running_[d] = Running{&task, 0, task.fixed_us, {}, now_};
      skip_empty(running_[d]);
    }
  }

  // Moves on to the next piece while the current one takes no time.
  void skip_empty(Running& slot) {
    while (slot.left_us <= kNegligibleUs && slot.next_node < slot.task->nodes.size()) {
      slot.piece = slot.task->nodes[slot.next_node++];
      slot.left_us = slot.piece.us;
      slot.fixed = false;
      result_.bytes[slot.task->segment.device] += slot.piece.bytes;
    }
    if (slot.left_us > kNegligibleUs || slot.releasing) return;
    slot.releasing = slot.fixed = true;
    slot.left_us = slot.task->release_us;
  }

  // To the next end of a piece, at the speeds that hold until then.
  void advance() {
    for (size_t d = 0; d < running_.size(); ++d) {
      const bool works = running_[d].task != nullptr && !running_[d].fixed;
      demands_[d] = works ? Demand{true, running_[d].piece} : Demand{};
    }
    const std::span<const double> speeds = contention_.speeds(demands_);
    double until = kInfinity;
    for (size_t d = 0; d < running_.size(); ++d)
      if (running_[d].task != nullptr) until = std::min(until, running_[d].left_us / speeds[d]);
    TANDEM_CHECK(until < kInfinity, "tasks wait for each other");
    now_ += until;
    for (size_t d = 0; d < running_.size(); ++d) {
      if (running_[d].task == nullptr) continue;
      running_[d].left_us -= until * speeds[d];
      skip_empty(running_[d]);
    }
  }

  void finish_ended() {
    for (size_t d = 0; d < running_.size(); ++d) {
      Running& slot = running_[d];
      if (slot.task == nullptr || slot.left_us > kNegligibleUs || !slot.releasing) continue;
      finish(slot);
      slot.task = nullptr;
    }
  }

  void finish(const Running& slot) {
    const Task& task = *slot.task;
    double bytes = 0;
    for (const NodeTime& node : task.nodes) bytes += node.bytes;
    result_.spans.push_back({task.item, task.segment, slot.start_us, now_, bytes});
    result_.busy_us[task.segment.device] += now_ - slot.start_us;
    count_done(static_cast<size_t>(slot.task - list_.tasks.data()));
  }

  void count_done(size_t task) {
    ++done_;
    list_.for_each_successor(task, [&](size_t later) {
      if (--waiting_for_[later] == 0) make_ready(later);
    });
  }

  void make_ready(size_t task) {
    if (list_.tasks[task].passed_over)
      count_done(task);
    else
      ready_[list_.tasks[task].segment.device].push_back(task);
  }

  const TaskList& list_;
  ContentionModel contention_;
  std::vector<Running> running_;           // per device
  std::vector<Demand> demands_;            // per device
  std::vector<std::deque<size_t>> ready_;  // per device: tasks, in the order they became ready
  std::vector<uint32_t> waiting_for_;      // per task: predecessors not finished
  size_t done_ = 0;
  double now_ = 0;
  Simulation result_;
};

std::string node_name(const ModelShape& model, uint32_t index) {
  const Node node = forward_pass(model.layer_count())[index];
  const std::string name(op_info(node.op).name);
  return node.op == Op::kEmbed || node.op == Op::kHead ? name
                                                       : fmt::format("{}[{}]", name, node.layer);
}

}  // namespace

std::vector<PlanSegment> segments_of(const CostTable& table, const Plan& plan, Phase phase) {
  const std::vector<uint32_t>& nodes = phase == Phase::kPrefill ? plan.prefill : plan.decode;
  const std::vector<NodeKind> kinds = table.model.nodes();
  TANDEM_CHECK(nodes.size() == kinds.size(), "a plan of %zu nodes for a model of %zu", nodes.size(),
               kinds.size());
  std::vector<uint32_t> devices;
  for (const std::string& name : plan.devices) devices.push_back(table.device(name));
  std::vector<PlanSegment> segments;
  for (uint32_t i = 0; i < nodes.size(); ++i) {
    const uint32_t device = devices[nodes[i]];
    const PhaseCost& cost = table.devices[device].node(kinds[i]).phase(phase);
    if (!cost.supported())
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("{} cannot run {}: {}", table.devices[device].name,
                              node_name(table.model, i), cost.unsupported));
    if (segments.empty() || segments.back().device != device) segments.push_back({device, i, i});
    segments.back().end = i + 1;
  }
  return segments;
}

Simulation simulate(const CostTable& table, const Plan& plan, const Workload& workload) {
  TANDEM_CHECK(workload.tokens > 0 && workload.chunk > 0 && workload.depth > 0, "nothing to do");
  const TaskList list = tasks_of(table, plan, workload);
  Simulation simulation = Machine(table, list).run();
  simulation.tokens_per_second = 1e6 * workload.all_tokens() / simulation.us;
  return simulation;
}

SimulationBounds bounds_of(const CostTable& table, const Plan& plan, const Workload& workload) {
  const TaskList list = tasks_of(table, plan, workload);
  SimulationBounds bounds;
  std::vector<double> busy(table.devices.size(), 0), end(list.tasks.size(), 0);
  for (size_t i = 0; i < list.tasks.size(); ++i) {
    const double us = list.tasks[i].alone_us();
    list.for_each_predecessor(i, [&](size_t before) { end[i] = std::max(end[i], end[before]); });
    end[i] += us;
    bounds.sum_us += us;
    bounds.critical_path_us = std::max(bounds.critical_path_us, end[i]);
    busy[list.tasks[i].segment.device] += us;
  }
  bounds.busiest_us = *std::max_element(busy.begin(), busy.end());
  return bounds;
}

Json trace_of(const Simulation& simulation, const CostTable& table) {
  Json events = Json::array();
  for (size_t device = 0; device < table.devices.size(); ++device)
    events.push_back({{"name", "thread_name"},
                      {"ph", "M"},
                      {"pid", 0},
                      {"tid", device},
                      {"args", {{"name", table.devices[device].name + " (predicted)"}}}});
  for (const SimulatedSpan& span : simulation.spans) {
    std::string name = node_name(table.model, span.segment.first);
    if (span.segment.end > span.segment.first + 1)
      name += " to " + node_name(table.model, span.segment.end - 1);
    events.push_back({{"name", name},
                      {"ph", "X"},
                      {"pid", 0},
                      {"tid", span.segment.device},
                      {"ts", span.start_us},
                      {"dur", span.end_us - span.start_us},
                      {"args", {{"item", span.item}, {"bytes", span.bytes}}}});
  }
  return Json{{"displayTimeUnit", "ms"}, {"traceEvents", std::move(events)}};
}

}  // namespace tandem
