// SPDX-License-Identifier: Apache-2.0
#include "hybrid/record.h"

#include <algorithm>

#include "base/json_value.h"
#include "hybrid/json_place.h"
#include "hybrid/plan_file.h"

namespace tandem {
namespace {

constexpr uint64_t kMaxTokens = 1 << 24, kMaxSequences = 4096;
constexpr double kLeastSpeed = 1e-3, kMostSpeed = 1e9;

RecordedRun read_run(const JsonPlace& place, const CostTable& costs) {
  place.allow_only({"name", "plan", "sequences", "prompt_speed", "generation_speed", "fitted"});
  RecordedRun run;
  run.name = place.at("name").text();
  run.sequences = static_cast<uint32_t>(place.at("sequences").whole(1, kMaxSequences));
  run.prompt_speed = place.at("prompt_speed").number(kLeastSpeed, kMostSpeed);
  run.generation_speed = place.at("generation_speed").number(kLeastSpeed, kMostSpeed);
  if (const auto fitted = place.find("fitted")) run.fitted = fitted->flag();
  run.plan = plan_at(place.at("plan"), costs.model.layer_count());
  for (const std::string& device : run.plan.devices)
    if (std::none_of(costs.devices.begin(), costs.devices.end(),
                     [&](const DeviceCost& known) { return known.name == device; }))
      place.at("plan").fail("has the device " + device + ", for which /costs has none");
  return run;
}

}  // namespace

Workload Record::workload(const RecordedRun& run, Phase phase) const {
  Workload work;
  work.phase = phase;
  work.tokens = phase == Phase::kPrefill ? prompt : generation;
  work.chunk = run.plan.chunk > 0 ? run.plan.chunk : work.chunk;
  work.sequences = run.sequences;
  work.depth = run.plan.pipeline_depth;
  return work;
}

Record parse_record(const Json& document, const std::string& file_name) {
  const JsonPlace place(document, file_name);
  place.allow_only({"machine", "version", "command", "prompt", "generation", "runs", "costs"});
  Record record;
  record.machine = place.at("machine").text();
  record.version = place.at("version").text();
  record.command = place.at("command").text();
  record.prompt = static_cast<uint32_t>(place.at("prompt").whole(1, kMaxTokens));
  record.generation = static_cast<uint32_t>(place.at("generation").whole(1, kMaxTokens));
  record.costs = cost_table_at(place.at("costs"));
  for (const JsonPlace& run : place.at("runs").items())
    record.runs.push_back(read_run(run, record.costs));
  return record;
}

Record read_record(const std::string& path) { return parse_record(read_json(path), path); }

}  // namespace tandem
