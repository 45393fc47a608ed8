// SPDX-License-Identifier: Apache-2.0
#include "hybrid/replay.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "hybrid/simulator.h"

namespace tandem {
namespace {

constexpr std::array kPhases = {Phase::kPrefill, Phase::kDecode};

// The search walks downhill along one factor at a time, with steps that get smaller: from a factor
// of 2 to one of 1.003.
constexpr uint32_t kHalvings = 8;

CostTable with_overheads(const CostTable& costs, const Overheads& overheads) {
  CostTable table = costs;
  for (DeviceCost& device : table.devices) device.wake_us *= overheads.wake;
  for (std::vector<EdgeCost>& row : table.edges)
    for (EdgeCost& edge : row) {
      edge.fixed_us *= overheads.hand_over;
      edge.bytes_per_second /= overheads.hand_over;
    }
  return table;
}

double predicted_speed(const Record& record, const CostTable& costs, const RecordedRun& run,
                       Phase phase) {
  return simulate(costs, run.plan, record.workload(run, phase)).tokens_per_second;
}

double misfit(const Record& record, const Overheads& overheads) {
  const CostTable costs = with_overheads(record.costs, overheads);
  double sum = 0;
  for (const RecordedRun& run : record.runs) {
    if (!run.fitted) continue;
    for (Phase phase : kPhases) {
      const double off = std::log(predicted_speed(record, costs, run, phase) / run.speed(phase));
      sum += off * off;
    }
  }
  return sum;
}

Overheads fit(const Record& record) {
  Overheads best;
  double least = misfit(record, best), step = 1;
  const auto improve = [&] {
    bool better = false;
    for (double Overheads::*parameter : {&Overheads::wake, &Overheads::hand_over})
      for (double direction : {1.0, -1.0}) {
        Overheads tried = best;
        tried.*parameter *= std::exp2(direction * step);
        const double off = misfit(record, tried);
        if (off >= least) continue;
        best = tried;
        least = off;
        better = true;
      }
    return better;
  };
  for (uint32_t halving = 0; halving <= kHalvings; ++halving, step /= 2)
    while (improve()) {
    }
  return best;
}

}  // namespace

Replay::Replay(const Record& record)
    : record_(record), overheads_(fit(record)), costs_(with_overheads(record.costs, overheads_)) {}

double Replay::speed(const RecordedRun& run, Phase phase) const {
  return predicted_speed(record_, costs_, run, phase);
}

ReplayErrors Replay::judged(Phase phase) const {
  ReplayErrors errors;
  for (const RecordedRun& run : record_.runs) {
    if (run.fitted) continue;
    const double off = std::abs(speed(run, phase) / run.speed(phase) - 1);
    errors.mean += off;
    errors.worst = std::max(errors.worst, off);
    ++errors.count;
  }
  if (errors.count > 0) errors.mean /= errors.count;
  return errors;
}

}  // namespace tandem
