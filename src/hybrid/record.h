// What a machine was seen to make of several plans, with the costs of the model's nodes measured
// there: bench/record.sh writes such files, replay.h holds predictions against them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "hybrid/cost_table.h"
#include "hybrid/plan.h"
#include "hybrid/workload.h"

namespace tandem {

// `tandem bench` with a plan: every sequence's prompt by itself, and apart from that the same
// number of tokens generated in all sequences side by side, from an empty cache.
struct RecordedRun {
  std::string name;
  Plan plan;
  uint32_t sequences = 1;
  double prompt_speed = 0, generation_speed = 0;  // tokens per second, all sequences together
  bool fitted = false;                            // for fitting, not for judging

  double speed(Phase phase) const {
    return phase == Phase::kPrefill ? prompt_speed : generation_speed;
  }
};

struct Record {
  std::string machine, version, command;
  uint32_t prompt = 0, generation = 0;  // tokens, of each sequence
  std::vector<RecordedRun> runs;
  CostTable costs;

  Workload workload(const RecordedRun& run, Phase phase) const;
};

// Throw kInvalidFile with the place; reading also kNotFound.
Record parse_record(const Json& document, const std::string& file_name);
Record read_record(const std::string& path);

}  // namespace tandem
