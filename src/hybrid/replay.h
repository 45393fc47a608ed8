// Predictions against what was measured: overheads that no node measured alone shows are fitted to
// the runs a record marks for it; the others judge.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "hybrid/cost_table.h"
#include "hybrid/record.h"

namespace tandem {

// What going from device to device takes, as factors of what was measured alone.
struct Overheads {
  double wake = 1, hand_over = 1;
};

// Of predicted over measured speeds, as shares: 0.1 is 10 %, either way.
struct ReplayErrors {
  uint32_t count = 0;
  double mean = 0, worst = 0;
};

class Replay {
 public:
  // The overheads are those with which the sum of the squared logarithms of predicted over measured
  // speeds is least for the runs to be fitted. `record` must outlive it.
  explicit Replay(const Record& record);

  const Overheads& overheads() const { return overheads_; }
  const CostTable& costs() const { return costs_; }  // the record's with the overheads
  // Predicted, tokens per second.
  double speed(const RecordedRun& run, Phase phase) const;
  // Over the runs that were not fitted.
  ReplayErrors judged(Phase phase) const;

 private:
  const Record& record_;
  Overheads overheads_;
  CostTable costs_;
};

}  // namespace tandem
