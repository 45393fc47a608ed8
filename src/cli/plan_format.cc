// SPDX-License-Identifier: Apache-2.0
#include "cli/plan_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <optional>

#include "backend/phase_name.h"
#include "base/error.h"
#include "hybrid/plan_memory.h"
#include "hybrid/simulator.h"

namespace tandem {
namespace {

constexpr double kMega = 1e6, kGiga = 1e9;

// "0-15, 20" of ascending numbers.
std::string ranges(const std::vector<uint32_t>& numbers) {
  std::string text;
  for (size_t i = 0; i < numbers.size();) {
    size_t end = i + 1;
    while (end < numbers.size() && numbers[end] == numbers[end - 1] + 1) ++end;
    text += fmt::format("{}{}", text.empty() ? "" : ", ", numbers[i]);
    if (end > i + 1) text += fmt::format("-{}", numbers[end - 1]);
    i = end;
  }
  return text;
}

// The step in the middle of a phase.
WorkStep typical_step(const Workload& workload) {
  const std::vector<WorkStep> steps = steps_of(workload);
  WorkStep step = steps[(steps.size() - 1) / 2];
  step.has_output = true;
  return step;
}

std::string cost_text(const CostTable& table, uint32_t device, NodeKind kind, Phase phase,
                      const WorkStep& step) {
  const PhaseCost& cost = table.devices[device].node(kind).phase(phase);
  if (!cost.supported()) return fmt::format("{}: {}", table.devices[device].name, cost.unsupported);
  return fmt::format("{} {:.1f} us", table.devices[device].name,
                     node_time(table, device, kind, phase, step).us);
}

void append_rows(std::string& text, const CostTable& table, const Plan& plan,
                 const Workload& workload, bool explain) {
  const std::vector<uint32_t>& nodes =
      workload.phase == Phase::kPrefill ? plan.prefill : plan.decode;
  const std::vector<Node> pass = forward_pass(table.model.layer_count());
  const std::vector<NodeKind> kinds = table.model.nodes();
  const WorkStep step = typical_step(workload);
  for (uint32_t k = 0; k < kNodeKindCount; ++k)
    for (uint32_t d = 0; d < plan.devices.size(); ++d) {
      const auto kind = static_cast<NodeKind>(k);
      std::vector<uint32_t> layers;
      for (size_t i = 0; i < nodes.size(); ++i)
        if (kinds[i] == kind && nodes[i] == d) layers.push_back(pass[i].layer);
      if (layers.empty()) continue;
      const bool in_layers = kind != NodeKind::kEmbed && kind != NodeKind::kHead;
      const uint32_t device = table.device(plan.devices[d]);
      const NodeTime time = node_time(table, device, kind, workload.phase, step);
      fmt::format_to(std::back_inserter(text), "{:8} {:14} {:20} {:10} {:>12.1f} {:>10.2f}",
                     phase_name(workload.phase), node_kind_name(kind),
                     in_layers ? ranges(layers) : "-", plan.devices[d], time.us,
                     time.bytes / kMega);
      for (uint32_t other = 0; explain && other < table.devices.size(); ++other)
        if (other != device)
          text += "  " + cost_text(table, other, kind, workload.phase, step) + ";";
      if (explain && text.back() == ';') text.pop_back();
      text += '\n';
    }
}

// Tokens per second at which the fastest memory of the plan's devices passes the bytes of a step.
std::optional<double> roofline(const CostTable& table, const Plan& plan, const Workload& workload) {
  double bandwidth = 0;
  for (const std::string& name : plan.devices)
    bandwidth = std::max(bandwidth, table.devices[table.device(name)].read_bandwidth);
  if (bandwidth <= 0) return std::nullopt;
  double bytes = 0;
  for (double device_bytes : simulate(table, plan, workload).bytes) bytes += device_bytes;
  return workload.all_tokens() * bandwidth / bytes;
}

std::string roofline_text(const std::optional<double>& tokens_per_second) {
  return tokens_per_second ? fmt::format("{:10.1f}", *tokens_per_second)
                           : fmt::format("{:>10}", "-");
}

void append_speed(std::string& text, const CostTable& table, const std::string& name,
                  const Plan& plan, const PlanRequest& request) {
  if (const auto lacking = planned_shortfall(table, plan, request.shape(table, plan))) {
    fmt::format_to(std::back_inserter(text), "{:24} does not fit: {:.3f} GB into {:.3f} of {}\n",
                   name, static_cast<double>(lacking->needed) / kGiga,
                   static_cast<double>(lacking->available) / kGiga, lacking->device);
    return;
  }
  try {
    const Prediction predicted = predict(table, plan, request);
    fmt::format_to(std::back_inserter(text), "{:24} {:>16.2f} {} {:>16.2f} {}\n", name,
                   predicted.prompt_tokens_per_second,
                   roofline_text(roofline(table, plan, request.prefill(plan))),
                   predicted.generate_tokens_per_second,
                   roofline_text(roofline(table, plan, request.decode(plan))));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kUnsupported) throw;
    text += fmt::format("{:24} {}\n", name, error.what());
  }
}

}  // namespace

std::string plan_table(const CostTable& table, const Plan& plan, const PlanRequest& request,
                       bool explain) {
  std::string text = fmt::format(
      "{:8} {:14} {:20} {:10} {:>12} {:>10}{}\n", "phase", "node", "layers", "device",
      table.predicted ? "predicted us" : "measured us", "MB", explain ? "  others" : "");
  append_rows(text, table, plan, request.prefill(plan), explain);
  append_rows(text, table, plan, request.decode(plan), explain);
  return text;
}

std::string plan_summary(const CostTable& table, const Plan& plan, const PlanRequest& request) {
  std::string text = fmt::format(
      "{} on {}: a prompt of {} tokens in chunks of {}, {} in flight, then {} tokens for each of "
      "{} sequences\n\n"
      "{:24} {:>16} {:>10} {:>16} {:>10}\n",
      table.model.name, table.machine, request.prompt, request.prefill(plan).chunk,
      plan.pipeline_depth, request.generate, request.sequences, "predicted tokens/s", "prompt",
      "roofline", "generation", "roofline");
  append_speed(text, table, "this plan", plan, request);
  for (const DeviceCost& device : table.devices) {
    Plan alone = single_device_plan(device.name, table.model.layer_count());
    alone.chunk = plan.chunk;
    append_speed(text, table, "all on " + device.name, alone, request);
  }
  text += '\n';
  const CoordinatorShape shape = request.shape(table, plan);
  std::vector<uint32_t> all;
  for (uint32_t d = 0; d < table.devices.size(); ++d) {
    all.push_back(d);
    const uint64_t weights = planned_need(table, plan, shape, {d}).weights;
    if (weights > 0)
      text += fmt::format("weights on {}: {:.2f} GB\n", table.devices[d].name,
                          static_cast<double>(weights) / kGiga);
  }
  const DeviceMemory memory = planned_need(table, plan, shape, all);
  text += fmt::format("cache of {} positions: {:.2f} GB, activations {:.2f} GB\n",
                      request.context_or_least(), static_cast<double>(memory.cache) / kGiga,
                      static_cast<double>(memory.activations) / kGiga);
  return text;
}

}  // namespace tandem
