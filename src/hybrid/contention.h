// How much devices slow each other down that work at the same time: they share the memory's
// bandwidth, and some of them the host's cores.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "hybrid/cost_table.h"

namespace tandem {

// What a device is doing.
struct Demand {
  bool active = false;
  NodeTime work;  // alone
};

class ContentionModel {
 public:
  explicit ContentionModel(const CostTable& table);

  // Per device: its speed with all these at work, as a share of its speed alone, above 0 and at
  // most 1. A device slows down only as far as its work waits for memory or needs cores. Valid
  // until the next call.
  std::span<const double> speeds(std::span<const Demand> demands);

 private:
  void grant();

  const CostTable& table_;
  std::vector<double> wanted_, granted_;  // bytes per second, per device
  std::vector<double> speeds_;
};

}  // namespace tandem
