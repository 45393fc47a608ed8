// The simulator against what machines did: recorded runs, two of each file for fitting, the others
// for judging.
// SPDX-License-Identifier: Apache-2.0
#include "hybrid/replay.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/json_value.h"
#include "hybrid/simulator.h"
#include "hybrid/test_tables.h"

namespace tandem {
namespace {

// The largest errors seen with the file, rounded up: what predictions are good for.
struct Bound {
  const char* file;
  double prompt, generation;
};

TEST(Replay, PredictsRecordedRunsWithinTheStatedErrors) {
  for (const Bound& bound : {Bound{"machines/records/h200-1b.json", 0.07, 0.23},
                             Bound{"machines/records/h200-x2-4b.json", 0.19, 0.15}}) {
    const Record record = read_record(bound.file);
    const Replay replay(record);
    EXPECT_GE(replay.judged(Phase::kPrefill).count, 10u) << bound.file;
    EXPECT_LE(replay.judged(Phase::kPrefill).worst, bound.prompt) << bound.file;
    EXPECT_LE(replay.judged(Phase::kDecode).worst, bound.generation) << bound.file;
  }
}

// Runs that the simulator itself "measured" with known overheads.
TEST(Replay, FindsTheOverheadsOfRunsThatHaveThem) {
  RandomTables random(31);
  Record record;
  record.costs = random.make(2, 2);
  record.costs.devices[1].nodes = record.costs.devices[0].nodes;
  for (DeviceCost& device : record.costs.devices) device.wake_us = 40;
  record.costs.edges[0][1] = record.costs.edges[1][0] = {0, 4e5};
  record.prompt = 12;
  record.generation = 4;
  CostTable truth = record.costs;
  for (DeviceCost& device : truth.devices) device.wake_us *= 2;
  for (std::vector<EdgeCost>& row : truth.edges)
    for (EdgeCost& edge : row) edge.bytes_per_second *= 2;
  const size_t nodes = record.costs.model.nodes().size();
  for (uint32_t changes : {1u, 4u, 0u}) {
    RecordedRun run;
    run.plan.devices = {"device0", "device1"};
    run.plan.chunk = 3;
    for (size_t i = 0; i < nodes; ++i)
      run.plan.prefill.push_back(static_cast<uint32_t>(i * (changes + 1) / nodes % 2));
    run.plan.decode = run.plan.prefill;
    run.prompt_speed =
        simulate(truth, run.plan, record.workload(run, Phase::kPrefill)).tokens_per_second;
    run.generation_speed =
        simulate(truth, run.plan, record.workload(run, Phase::kDecode)).tokens_per_second;
    run.fitted = changes > 0;
    record.runs.push_back(run);
  }
  const Replay replay(record);
  EXPECT_NEAR(replay.overheads().wake, 2, 0.1);
  EXPECT_NEAR(replay.overheads().hand_over, 0.5, 0.1);
  const ReplayErrors errors = replay.judged(Phase::kPrefill);
  EXPECT_EQ(errors.count, 1u);
  EXPECT_LT(errors.worst, 0.01);
}

Json small_record() {
  RandomTables random(32);
  CostTable costs = random.make(2, 1);
  Json plan = {
      {"model", "gemma3-1-layers"},
      {"devices", {"device0"}},
      {"prefill",
       {{{"nodes", {"embed", "head"}}, {"device", "device0"}},
        {{"nodes", {"qkv", "core", "out", "ffn"}}, {"layers", "all"}, {"device", "device0"}}}}};
  plan["decode"] = plan["prefill"];
  return {{"machine", "one"},
          {"version", "1"},
          {"command", "bench"},
          {"prompt", 4},
          {"generation", 2},
          {"runs",
           {{{"name", "all"},
             {"sequences", 1},
             {"prompt_speed", 10.0},
             {"generation_speed", 5.0},
             {"plan", plan}}}},
          {"costs", parse_json(format_cost_table(costs), "costs")}};
}

std::string failure(const Json& document) {
  try {
    parse_record(document, "r.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was wrong";
}

TEST(Record, NamesThePlaceOfWhatIsWrong) {
  Json record = small_record();
  EXPECT_EQ(failure(record), "nothing was wrong");
  EXPECT_EQ(parse_record(record, "r.json").runs[0].plan.prefill.size(), 6u);
  record["runs"][0]["prompt_speed"] = -1;
  EXPECT_NE(failure(record).find("r.json: /runs/0/prompt_speed is -1"), std::string::npos);
  record = small_record();
  record["runs"][0]["plan"]["devices"] = {"moon"};
  EXPECT_NE(failure(record).find("r.json: /runs/0/plan"), std::string::npos) << failure(record);
  record = small_record();
  record["costs"].erase("edges");
  EXPECT_NE(failure(record).find("/costs lacks \"edges\""), std::string::npos) << failure(record);
}

}  // namespace
}  // namespace tandem
