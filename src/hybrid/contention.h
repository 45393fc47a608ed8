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
  explicit ContentionModel(const CostTable& table) : table_(table) {}

  // Per device: its speed with all these at work, as a share of its speed alone, above 0 and at
  // most 1. A device slows down only as far as its work waits for memory or needs cores.
  std::vector<double> speeds(std::span<const Demand> demands) const;

 private:
  std::vector<double> granted(std::span<const double> wanted) const;

  const CostTable& table_;
};

}  // namespace tandem
