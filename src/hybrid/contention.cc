// SPDX-License-Identifier: Apache-2.0
#include "hybrid/contention.h"

#include <algorithm>

namespace tandem {

// Bytes per second that each device gets of those it wants, before what others leave unused. From
// the table's row for just these devices; without one, devices on one memory get what they want in
// proportion, within what the best of them reaches alone.
std::vector<double> ContentionModel::granted(std::span<const double> wanted) const {
  const size_t count = wanted.size();
  std::vector<double> result(count, 0);
  for (const Contention& entry : table_.contention) {
    bool same = true;
    for (size_t i = 0; i < count; ++i) same &= (entry.shares[i] > 0) == (wanted[i] > 0);
    if (!same) continue;
    for (size_t i = 0; i < count; ++i)
      result[i] = entry.shares[i] * table_.devices[i].read_bandwidth;
    return result;
  }
  for (size_t i = 0; i < count; ++i) {
    double sum = 0, best = 0;
    for (size_t j = 0; j < count; ++j) {
      if (wanted[j] == 0 || table_.devices[j].pool != table_.devices[i].pool) continue;
      sum += wanted[j];
      best = std::max(best, table_.devices[j].read_bandwidth);
    }
    if (wanted[i] > 0) result[i] = wanted[i] * std::min(1.0, best / sum);
  }
  return result;
}

std::vector<double> ContentionModel::speeds(std::span<const Demand> demands) const {
  const size_t count = demands.size();
  std::vector<double> wanted(count, 0);
  double cores = 0;
  for (size_t i = 0; i < count; ++i) {
    const Demand& demand = demands[i];
    if (!demand.active || demand.work.us <= 0) continue;
    wanted[i] =
        std::min(1e6 * demand.work.bytes / demand.work.us, table_.devices[i].read_bandwidth);
    cores += table_.devices[i].host_cores;
  }
  const std::vector<double> grants = granted(wanted);
  double unused = 0, missing = 0;
  for (size_t i = 0; i < count; ++i) {
    unused += std::max(0.0, grants[i] - wanted[i]);
    missing += std::max(0.0, wanted[i] - grants[i]);
  }
  const double refill = missing > 0 ? std::min(1.0, unused / missing) : 0;
  std::vector<double> result(count, 1);
  for (size_t i = 0; i < count; ++i) {
    if (wanted[i] > grants[i])
      result[i] = (grants[i] + refill * (wanted[i] - grants[i])) / wanted[i];
    if (demands[i].active && table_.devices[i].host_cores > 0 && table_.host_cores > 0)
      result[i] = std::min(result[i], std::min(1.0, table_.host_cores / cores));
  }
  return result;
}

}  // namespace tandem
