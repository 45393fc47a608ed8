// SPDX-License-Identifier: Apache-2.0
#include "hybrid/workload.h"

#include <algorithm>

namespace tandem {

uint32_t Workload::in_flight() const {
  return phase == Phase::kDecode ? std::min(depth, sequences) : depth;
}

std::vector<WorkStep> steps_of(const Workload& workload) {
  std::vector<WorkStep> steps;
  if (workload.phase == Phase::kPrefill) {
    for (uint32_t done = 0; done < workload.tokens; done += steps.back().rows) {
      const uint32_t rows = std::min(workload.chunk, workload.tokens - done);
      steps.push_back({rows, workload.position + done, done + rows == workload.tokens});
    }
    return steps;
  }
  const uint32_t groups = workload.in_flight();
  for (uint32_t token = 0; token < workload.tokens; ++token)
    for (uint32_t group = 0; group < groups; ++group)
      steps.push_back(
          {(workload.sequences + groups - 1 - group) / groups, workload.position + token, true});
  return steps;
}

bool passes_over(NodeKind first, const WorkStep& step) {
  return first == NodeKind::kHead && !step.has_output;
}

NodeTime node_time(const CostTable& table, uint32_t device, NodeKind kind, Phase phase,
                   const WorkStep& step) {
  uint32_t rows = step.rows;
  if (kind == NodeKind::kHead) {
    if (!step.has_output) return {};
    if (phase == Phase::kPrefill) rows = 1;
  }
  return table.devices[device].node(kind).phase(phase).at(rows, step.position);
}

double hand_over_us(const CostTable& table, uint32_t from, uint32_t to, NodeKind before,
                    const WorkStep& step) {
  return table.edges[from][to].us(handed_over(table.model, before, step.rows));
}

double source_share(const CostTable& table, uint32_t from, uint32_t to) {
  const auto copies = [&](uint32_t device) { return table.devices[device].pool != 0 ? 1.0 : 0.0; };
  return copies(from) > 0 ? copies(from) / (copies(from) + copies(to)) : 0;
}

double entry_us(const CostTable& table, uint32_t from, uint32_t to, NodeKind before,
                const WorkStep& step) {
  const DeviceCost& device = table.devices[to];
  if (from == kNoDevice) return device.launch_us;
  return hand_over_us(table, from, to, before, step) + device.launch_us + device.wake_us;
}

}  // namespace tandem
