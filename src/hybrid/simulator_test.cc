// The simulator against arithmetic, and what must hold for any machine and plan.
// SPDX-License-Identifier: Apache-2.0
#include "hybrid/simulator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "base/json_value.h"
#include "hybrid/contention.h"
#include "hybrid/test_tables.h"

namespace tandem {
namespace {

// Two devices that take a fixed time for every node, on one memory.
CostTable two_devices(double us0, double us1, double bytes) {
  RandomTables random(1);
  CostTable table = random.make(2, 1);
  table.pools.resize(1);
  for (uint32_t d = 0; d < 2; ++d) {
    DeviceCost& device = table.devices[d];
    device.pool = 0;
    device.launch_us = device.wake_us = 0;
    device.read_bandwidth = 1e6 * 10;  // 10 bytes a microsecond
    for (NodeCost& node : device.nodes)
      for (PhaseCost& phase : node.phases)
        phase = {{}, {{1, 0, d == 0 ? us0 : us1, bytes}, {2, 0, d == 0 ? us0 : us1, bytes}}};
  }
  table.edges[0][1] = table.edges[1][0] = {};
  return table;
}

// embed, qkv, core on device 0; out, ffn, head on device 1.
Plan split_plan() {
  Plan plan;
  plan.devices = {"device0", "device1"};
  plan.prefill = plan.decode = {0, 0, 0, 1, 1, 1};
  return plan;
}

Workload prompt(uint32_t chunks, uint32_t depth) {
  Workload work;
  work.tokens = 2 * chunks;
  work.chunk = 2;
  work.depth = depth;
  return work;
}

TEST(Simulator, OverlapsChunksThatAreInFlight) {
  const CostTable table = two_devices(10, 20, 0);
  // 30 us on device 0, then 40 on device 1, whose head adds 20 for the last chunk.
  EXPECT_DOUBLE_EQ(simulate(table, split_plan(), prompt(1, 1)).us, 90);
  EXPECT_DOUBLE_EQ(simulate(table, split_plan(), prompt(4, 1)).us, 4 * 70 + 20);
  EXPECT_DOUBLE_EQ(simulate(table, split_plan(), prompt(4, 2)).us, 30 + 4 * 40 + 20);
}

// Nodes take 10 us on both, 30 on each device for a chunk, and a hand-over 8.
TEST(Simulator, ADeviceWithMemoryOfItsOwnCopiesWhatIsHandedOver) {
  CostTable table = two_devices(10, 10, 0);
  table.edges[0][1] = {8, 0};
  const auto busy_us = [&](uint32_t pool0, uint32_t pool1) {
    table.devices[0].pool = pool0;
    table.devices[1].pool = pool1;
    return simulate(table, split_plan(), prompt(1, 2)).busy_us;
  };
  EXPECT_THAT(busy_us(0, 1), testing::ElementsAre(30, 38));
  EXPECT_THAT(busy_us(1, 0), testing::ElementsAre(38, 30));
  EXPECT_THAT(busy_us(1, 2), testing::ElementsAre(34, 34));
}

// The head by itself runs after a prompt's last chunk only, for the others nothing is launched or
// handed over to its device.
TEST(Simulator, PassesOverAHeadWithoutOutputs) {
  CostTable table = two_devices(10, 20, 0);
  table.devices[0].launch_us = 2;
  table.devices[1].launch_us = 3;
  table.edges[0][1] = {5, 0};
  Plan plan = split_plan();
  plan.prefill = {0, 0, 0, 0, 0, 1};
  for (const uint32_t depth : {1u, 3u}) {
    const Simulation simulation = simulate(table, plan, prompt(4, depth));
    EXPECT_DOUBLE_EQ(simulation.us, 4 * (2 + 50) + 5 + 3 + 20) << depth;
    EXPECT_EQ(simulation.spans.size(), 5u);
  }
  EXPECT_DOUBLE_EQ(bounds_of(table, plan, prompt(4, 3)).sum_us, 4 * (2 + 50) + 5 + 3 + 20);
}

TEST(Simulator, SharesBandwidthWhileBothStream) {
  // Every node streams at the full 10 bytes a microsecond of its device.
  CostTable table = two_devices(10, 10, 100);
  // With half the bandwidth each, the 20 us of chunk 0 on device 1 take 40, and leave chunk 1 10 of
  // its 30 us on device 0; then follow its 30 on device 1.
  EXPECT_NEAR(simulate(table, split_plan(), prompt(2, 2)).us, 30 + 40 + 10 + 30, 1e-6);
  table.contention = {{{0.75, 0.75}}};
  EXPECT_NEAR(simulate(table, split_plan(), prompt(2, 2)).us, 30 + 20 / 0.75 + 10 + 30, 1e-6);
}

TEST(Simulator, SharesCoresOfTheHost) {
  CostTable table = two_devices(10, 10, 0);
  table.host_cores = 2;
  table.devices[0].host_cores = table.devices[1].host_cores = 2;
  EXPECT_NEAR(simulate(table, split_plan(), prompt(2, 2)).us, 30 + 40 + 10 + 30, 1e-6);
  table.devices[1].host_cores = 1;
  table.host_cores = 3;
  EXPECT_NEAR(simulate(table, split_plan(), prompt(2, 2)).us, 30 + 30 + 30, 1e-6);
}

TEST(Simulator, LetsGroupsOfSequencesTakeTurns) {
  const CostTable table = two_devices(10, 10, 0);
  Workload work;
  work.phase = Phase::kDecode;
  work.tokens = 3;
  work.sequences = 2;
  EXPECT_DOUBLE_EQ(simulate(table, split_plan(), work).us, 3 * 60);
  work.depth = 2;  // each device is always busy with the one or the other
  EXPECT_DOUBLE_EQ(simulate(table, split_plan(), work).us, 30 + 3 * 60);
  EXPECT_DOUBLE_EQ(simulate(table, split_plan(), work).tokens_per_second, 6e6 / 210);
}

Plan random_plan(RandomTables& random, const CostTable& table) {
  Plan plan;
  for (const DeviceCost& device : table.devices) plan.devices.push_back(device.name);
  const auto kinds = table.model.nodes();
  for (auto [nodes, phase] :
       {std::pair(&plan.prefill, Phase::kPrefill), std::pair(&plan.decode, Phase::kDecode)})
    for (NodeKind kind : kinds) {
      const uint32_t d = random.below(static_cast<uint32_t>(table.devices.size()));
      nodes->push_back(table.devices[d].node(kind).phase(phase).supported() ? d : 0);
    }
  return plan;
}

Workload random_work(RandomTables& random, uint32_t depth) {
  Workload work;
  work.phase = random.below(2) == 0 ? Phase::kPrefill : Phase::kDecode;
  work.tokens = 1 + random.below(12);
  work.chunk = 1 + random.below(4);
  work.sequences = 1 + random.below(4);
  work.depth = depth;
  return work;
}

TEST(Simulator, TakesTheSumAtDepthOne) {
  RandomTables random(21);
  for (uint32_t i = 0; i < 200; ++i) {
    const CostTable table = random.make(1 + random.below(3), 1 + random.below(3));
    const Plan plan = random_plan(random, table);
    const Workload work = random_work(random, 1);
    EXPECT_NEAR(simulate(table, plan, work).us, bounds_of(table, plan, work).sum_us, 1e-6);
  }
}

TEST(Simulator, IsNeitherFasterThanPossibleNorSlowerThanOneByOneWithoutContention) {
  RandomTables random(22);
  for (uint32_t i = 0; i < 300; ++i) {
    CostTable table = random.make(1 + random.below(3), 1 + random.below(3));
    const bool contention = random.below(2) == 0;
    if (!contention)
      for (DeviceCost& device : table.devices) device.read_bandwidth = 0;
    const Plan plan = random_plan(random, table);
    const Workload work = random_work(random, 1 + random.below(4));
    const Simulation simulation = simulate(table, plan, work);
    const SimulationBounds bounds = bounds_of(table, plan, work);
    EXPECT_GE(simulation.us, bounds.critical_path_us - 1e-6);
    EXPECT_GE(simulation.us, bounds.busiest_us - 1e-6);
    if (!contention) {
      EXPECT_LE(simulation.us, bounds.sum_us + 1e-6);
    }
  }
}

TEST(Simulator, MovesTheSameBytesWhateverTheDepth) {
  RandomTables random(23);
  for (uint32_t i = 0; i < 100; ++i) {
    const CostTable table = random.make(1 + random.below(3), 2);
    const Plan plan = random_plan(random, table);
    Workload work = random_work(random, 1);
    work.phase = Phase::kPrefill;
    const Simulation one = simulate(table, plan, work);
    work.depth = 3;
    const Simulation several = simulate(table, plan, work);
    ASSERT_EQ(one.spans.size(), several.spans.size());
    double in_spans = 0, in_devices = 0;
    for (const SimulatedSpan& span : several.spans) in_spans += span.bytes;
    for (size_t d = 0; d < table.devices.size(); ++d) {
      EXPECT_DOUBLE_EQ(one.bytes[d], several.bytes[d]);
      in_devices += several.bytes[d];
    }
    EXPECT_NEAR(in_spans, in_devices, 1e-6);
  }
}

TEST(Simulator, RunsOneSegmentAtATimeOnADevice) {
  RandomTables random(24);
  const CostTable table = random.make(3, 3);
  const Plan plan = random_plan(random, table);
  Workload work = prompt(6, 3);
  const Simulation simulation = simulate(table, plan, work);
  std::vector<double> last_end(table.devices.size(), 0);
  for (const SimulatedSpan& span : simulation.spans) {  // by end, so in order on each device
    EXPECT_GE(span.start_us, last_end[span.segment.device] - 1e-9);
    last_end[span.segment.device] = span.end_us;
  }
}

TEST(Simulator, RefusesAPlanThatADeviceCannotRun) {
  CostTable table = two_devices(10, 10, 0);
  table.devices[1].node(NodeKind::kFfn).phase(Phase::kPrefill) = {"too wide", {}};
  try {
    simulate(table, split_plan(), prompt(1, 1));
    FAIL() << "ran it";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "device1 cannot run ffn[0]: too wide");
  }
  Plan plan = split_plan();
  plan.devices[1] = "moon";
  EXPECT_THROW(simulate(table, plan, prompt(1, 1)), Error);
}

TEST(Simulator, TracesALaneForEachDevice) {
  const CostTable table = two_devices(10, 20, 5);
  const Json trace = trace_of(simulate(table, split_plan(), prompt(2, 2)), table);
  uint32_t lanes = 0, spans = 0;
  for (const Json& event : trace["traceEvents"]) {
    lanes += event["ph"] == "M";
    spans += event["ph"] == "X";
  }
  EXPECT_EQ(lanes, 2u);
  EXPECT_EQ(spans, 4u);
  EXPECT_EQ(trace["traceEvents"][2]["name"], "embed to core[0]");
}

TEST(Contention, LeavesComputeBoundWorkAlone) {
  CostTable table = two_devices(1, 1, 0);
  ContentionModel model(table);
  // Each wants a tenth of its bandwidth; together they fit.
  const std::vector<Demand> demands = {{true, {10, 10}}, {true, {10, 10}}};
  EXPECT_THAT(model.speeds(demands), testing::ElementsAre(1, 1));
}

TEST(Contention, GivesWhatOneLeavesToTheOther) {
  CostTable table = two_devices(1, 1, 0);
  table.contention = {{{0.5, 0.5}}};
  ContentionModel model(table);
  // Device 0 wants 2 of its 5 bytes a microsecond, device 1 all 10: 3 more pass to it.
  const std::vector<Demand> demands = {{true, {10, 20}}, {true, {10, 100}}};
  const std::span<const double> speeds = model.speeds(demands);
  EXPECT_DOUBLE_EQ(speeds[0], 1);
  EXPECT_DOUBLE_EQ(speeds[1], 0.8);
}

}  // namespace
}  // namespace tandem
