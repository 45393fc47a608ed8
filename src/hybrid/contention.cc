// SPDX-License-Identifier: Apache-2.0
#include "hybrid/contention.h"

#include <algorithm>

namespace tandem {

ContentionModel::ContentionModel(const CostTable& table)
    : table_(table),
      wanted_(table.devices.size()),
      granted_(table.devices.size()),
      speeds_(table.devices.size()) {}

// Bytes per second that each device gets of those it wants, before what others leave unused. From
// the table's row for just these devices; without one, devices on one memory get what they want in
// proportion, within what the best of them reaches alone.
void ContentionModel::grant() {
  const size_t count = wanted_.size();
  for (const Contention& entry : table_.contention) {
    bool same = true;
    for (size_t i = 0; i < count; ++i) same &= (entry.shares[i] > 0) == (wanted_[i] > 0);
    if (!same) continue;
    for (size_t i = 0; i < count; ++i)
      granted_[i] = entry.shares[i] * table_.devices[i].read_bandwidth;
    return;
  }
  for (size_t i = 0; i < count; ++i) {
    double sum = 0, best = 0;
    for (size_t j = 0; j < count; ++j) {
      if (wanted_[j] == 0 || table_.devices[j].pool != table_.devices[i].pool) continue;
      sum += wanted_[j];
      best = std::max(best, table_.devices[j].read_bandwidth);
    }
    granted_[i] = wanted_[i] > 0 ? wanted_[i] * std::min(1.0, best / sum) : 0;
  }
}

std::span<const double> ContentionModel::speeds(std::span<const Demand> demands) {
  const size_t count = demands.size();
  double cores = 0;
  for (size_t i = 0; i < count; ++i) {
    const Demand& demand = demands[i];
    wanted_[i] = 0;
    if (!demand.active || demand.work.us <= 0) continue;
    wanted_[i] =
        std::min(1e6 * demand.work.bytes / demand.work.us, table_.devices[i].read_bandwidth);
    cores += table_.devices[i].host_cores;
  }
  grant();
  double unused = 0, missing = 0;
  for (size_t i = 0; i < count; ++i) {
    unused += std::max(0.0, granted_[i] - wanted_[i]);
    missing += std::max(0.0, wanted_[i] - granted_[i]);
  }
  const double refill = missing > 0 ? std::min(1.0, unused / missing) : 0;
  for (size_t i = 0; i < count; ++i) {
    speeds_[i] = 1;
    if (wanted_[i] > granted_[i])
      speeds_[i] = (granted_[i] + refill * (wanted_[i] - granted_[i])) / wanted_[i];
    if (demands[i].active && table_.devices[i].host_cores > 0 && table_.host_cores > 0)
      speeds_[i] = std::min(speeds_[i], std::min(1.0, table_.host_cores / cores));
  }
  return speeds_;
}

}  // namespace tandem
