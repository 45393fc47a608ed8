// Plans against trying all plans, and tables where it is clear what must win.
// SPDX-License-Identifier: Apache-2.0
#include "hybrid/planner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "hybrid/plan_memory.h"
#include "hybrid/simulator.h"
#include "hybrid/test_tables.h"

namespace tandem {
namespace {

constexpr uint32_t kPrompt = 5, kGenerate = 2, kChunk = 3;

PlanRequest small_request(uint32_t depth = 1) {
  PlanRequest request;
  request.prompt = kPrompt;
  request.generate = kGenerate;
  request.chunk = kChunk;
  request.depth = depth;
  return request;
}

// Keys and values of 7 positions with 2 values each in f16, at multiples of 64 bytes.
constexpr uint64_t kLayerCache = 2 * 64;

// What each memory that a plan of depth 1 uses holds beside weights and caches.
uint64_t fixed_memory(const CostTable& table) {
  CoordinatorShape shape;
  shape.max_rows = kChunk;
  shape.context = kPrompt + kGenerate;
  shape.max_rounds = 32;
  return Coordinator::activation_size(table.model.config(), shape) + kMemoryMargin;
}

// A random table whose memories hold that much, and sometimes less, beside what they had.
CostTable table_with_room(RandomTables& random, uint32_t devices, uint32_t layers) {
  CostTable table = random.make(devices, layers);
  table.model.tied = random.below(2) == 0;
  const uint64_t fixed = fixed_memory(table);
  for (MemoryPool& pool : table.pools)
    if (random.below(20) > 0) pool.size += fixed + layers * kLayerCache;
  for (DeviceCost& device : table.devices)
    if (random.below(3) == 0)
      device.memory_size = fixed + layers * kLayerCache + random.below(3000);
  return table;
}

// The costs of a plan written out anew: chunks of 3 and 2 rows at positions 0 and 3, then tokens at
// positions 5 and 6.
class ByHand {
 public:
  explicit ByHand(const CostTable& table)
      : table_(table), kinds_(table.model.nodes()), fixed_(fixed_memory(table)) {}

  // The devices of each memory together, and those by themselves that can use less of theirs.
  bool fits(const std::vector<uint32_t>& prefill, const std::vector<uint32_t>& decode) const {
    for (uint32_t pool = 0; pool < table_.pools.size(); ++pool) {
      std::vector<uint32_t> devices;
      for (uint32_t d = 0; d < table_.devices.size(); ++d)
        if (table_.devices[d].pool == pool) devices.push_back(d);
      if (need(prefill, decode, devices) > table_.pools[pool].size) return false;
    }
    for (uint32_t d = 0; d < table_.devices.size(); ++d)
      if (const uint64_t most = table_.devices[d].memory_size;
          most > 0 && need(prefill, decode, {d}) > most)
        return false;
    return true;
  }

  // Microseconds per device; infinite where it cannot run its node.
  std::vector<double> prefill(const std::vector<uint32_t>& devices) const {
    return run(devices, Phase::kPrefill, {{3, 0, false}, {2, 3, true}});
  }
  std::vector<double> decode(const std::vector<uint32_t>& devices) const {
    return run(devices, Phase::kDecode, {{1, 5, true}, {1, 6, true}});
  }
  double caches_moved(const std::vector<uint32_t>& prefill,
                      const std::vector<uint32_t>& decode) const {
    double sum = 0;
    for (size_t i = 0; i < kinds_.size(); ++i)
      if (op_of(kinds_[i]) == Op::kAttnCore && prefill[i] != decode[i])
        sum += table_.edges[prefill[i]][decode[i]].fixed_us;
    return sum;
  }

 private:
  uint64_t need(const std::vector<uint32_t>& prefill, const std::vector<uint32_t>& decode,
                const std::vector<uint32_t>& devices) const {
    uint64_t sum = 0;
    std::vector<bool> cached(kinds_.size(), false);
    bool used = false;
    for (uint32_t device : devices) {
      const auto runs = [&](size_t i) { return prefill[i] == device || decode[i] == device; };
      for (size_t i = 0; i < kinds_.size(); ++i) {
        if (!runs(i)) continue;
        used = true;
        const bool in_head = i == 0 && table_.model.tied && runs(kinds_.size() - 1);
        if (!in_head) sum += table_.devices[device].node(kinds_[i]).weight_bytes;
        if (op_of(kinds_[i]) != Op::kAttnCore || cached[i]) continue;
        sum += kLayerCache;
        cached[i] = true;
      }
    }
    return used ? sum + fixed_ : 0;
  }

  std::vector<double> run(const std::vector<uint32_t>& devices, Phase phase,
                          const std::vector<WorkStep>& steps) const {
    std::vector<double> busy(table_.devices.size(), 0);
    for (const WorkStep& step : steps)
      for (size_t i = 0; i < devices.size(); ++i) {
        const DeviceCost& device = table_.devices[devices[i]];
        const PhaseCost& cost = device.node(kinds_[i]).phase(phase);
        if (!cost.supported()) return {INFINITY};
        double us = 0;
        const uint32_t rows =
            kinds_[i] == NodeKind::kHead && phase == Phase::kPrefill ? 1 : step.rows;
        if (kinds_[i] != NodeKind::kHead || step.has_output) us = cost.at(rows, step.position).us;
        if (i == 0) us += device.launch_us;
        const bool ends = kinds_[i] == NodeKind::kHead && !step.has_output;
        if (i > 0 && devices[i] != devices[i - 1] && !ends)
          us +=
              table_.edges[devices[i - 1]][devices[i]].fixed_us + device.launch_us + device.wake_us;
        busy[devices[i]] += us;
      }
    return busy;
  }

  const CostTable& table_;
  std::vector<NodeKind> kinds_;
  uint64_t fixed_;
};

double sum(const std::vector<double>& values) {
  double total = 0;
  for (double value : values) total += value;
  return total;
}

// All assignments of devices to nodes.
std::vector<std::vector<uint32_t>> assignments(uint32_t device_count, size_t node_count) {
  std::vector<std::vector<uint32_t>> all(1);
  for (size_t node = 0; node < node_count; ++node) {
    std::vector<std::vector<uint32_t>> longer;
    for (const auto& start : all)
      for (uint32_t d = 0; d < device_count; ++d) {
        longer.push_back(start);
        longer.back().push_back(d);
      }
    all = std::move(longer);
  }
  return all;
}

double best_by_trying_all(const CostTable& table) {
  const ByHand by_hand(table);
  const auto all =
      assignments(static_cast<uint32_t>(table.devices.size()), table.model.nodes().size());
  std::vector<double> prefill_us, decode_us;
  for (const auto& devices : all) {
    prefill_us.push_back(sum(by_hand.prefill(devices)));
    decode_us.push_back(sum(by_hand.decode(devices)));
  }
  double best = INFINITY;
  for (size_t p = 0; p < all.size(); ++p)
    for (size_t d = 0; d < all.size(); ++d) {
      const double us = prefill_us[p] + decode_us[d];
      if (us >= best || us + by_hand.caches_moved(all[p], all[d]) >= best) continue;
      if (by_hand.fits(all[p], all[d])) best = us + by_hand.caches_moved(all[p], all[d]);
    }
  return best;
}

std::vector<uint32_t> indices(const CostTable& table, const Plan& plan,
                              const std::vector<uint32_t>& nodes) {
  std::vector<uint32_t> devices;
  for (uint32_t node : nodes) devices.push_back(table.device(plan.devices[node]));
  return devices;
}

TEST(Planner, EqualsTryingAllPlansOnAThousandTables) {
  RandomTables random(7);
  uint32_t mixed = 0, without_room = 0;
  for (uint32_t i = 0; i < 1000; ++i) {
    const uint32_t layers = i % 50 == 0 ? 2 : 1;
    const CostTable table = table_with_room(random, i % 50 == 1 ? 3 : 2, layers);
    const PlanRequest request = small_request();
    const double expected = best_by_trying_all(table);
    if (expected == INFINITY) {
      ++without_room;
      EXPECT_THROW(make_plan(table, request), Error);
      continue;
    }
    const Plan plan = make_plan(table, request);
    const auto prefill = indices(table, plan, plan.prefill);
    const auto decode = indices(table, plan, plan.decode);
    const ByHand by_hand(table);
    ASSERT_DOUBLE_EQ(sum(by_hand.prefill(prefill)) + sum(by_hand.decode(decode)) +
                         by_hand.caches_moved(prefill, decode),
                     expected)
        << "table " << i;
    ASSERT_TRUE(by_hand.fits(prefill, decode)) << "table " << i;
    mixed += plan.devices.size() > 1;
  }
  EXPECT_GT(mixed, 100u);
  EXPECT_GT(without_room, 10u);
}

// In decode nothing overlaps, so the busiest device of prefill and all of decode are to be least.
TEST(Planner, BalancesDevicesForOverlap) {
  RandomTables random(11);
  for (uint32_t i = 0; i < 25; ++i) {
    CostTable table = random.make(2, 1);
    for (DeviceCost& device : table.devices) {
      device.read_bandwidth = 0;  // no contention
      device.pool = 0;
    }
    table.pools[0].size = 1 << 30;
    const ByHand by_hand(table);
    double expected = INFINITY, sequential = INFINITY;
    const auto all = assignments(2, table.model.nodes().size());
    for (const auto& p : all)
      for (const auto& d : all) {
        const std::vector<double> busy = by_hand.prefill(p);
        const double decode = sum(by_hand.decode(d)) + by_hand.caches_moved(p, d);
        expected = std::min(expected, *std::max_element(busy.begin(), busy.end()) + decode);
        sequential = std::min(sequential, sum(busy) + decode);
      }
    const Plan plan = make_plan(table, small_request(2));
    const double us = predict(table, plan, small_request(2)).us();
    // What a pipeline really takes lies between its steady state and no overlap at all.
    EXPECT_GE(us, expected * (1 - 1e-9)) << "table " << i;
    EXPECT_LE(us, sequential * (1 + 1e-9)) << "table " << i;
  }
}

// Two devices alike and sequences that take turns: each does half of the layers.
TEST(Planner, SplitsLayersWhereSeveralSequencesGenerate) {
  RandomTables random(12);
  CostTable table = random.make(2, 8);
  for (DeviceCost& device : table.devices) {
    device.read_bandwidth = 0;  // no contention
    device.launch_us = 1;
    device.wake_us = 0;
    for (NodeCost& node : device.nodes) {
      node.weight_bytes = 0;
      for (PhaseCost& phase : node.phases) phase = {{}, {{1, 0, 10, 0}, {2, 0, 20, 0}}};
    }
  }
  table.edges[0][1] = table.edges[1][0] = {1, 0};
  for (MemoryPool& pool : table.pools) pool.size = 1 << 30;
  PlanRequest request = small_request(2);
  request.prompt = 1;
  request.generate = 100;
  request.sequences = 2;
  const Plan plan = make_plan(table, request);
  EXPECT_EQ(plan.devices.size(), 2u);
  EXPECT_EQ(plan.pipeline_depth, 2u);
  // 34 nodes for each of two sequences: 340 us a token when both devices are always at work.
  const Prediction predicted = predict(table, plan, request);
  EXPECT_LT(predicted.generate_us, 1.08 * 100 * 340);
  EXPECT_GE(predicted.generate_us, 100 * 340);
}

TEST(Planner, CountsTheCacheThatChangesHands) {
  RandomTables random(13);
  CostTable table = random.make(2, 1);
  table.devices[1].nodes = table.devices[0].nodes;
  table.edges[0][1] = {100, 0};
  Plan plan = single_device_plan("device0", 1);
  EXPECT_DOUBLE_EQ(predict(table, plan, small_request()).cache_hand_over_us, 0);
  plan.devices.push_back("device1");
  plan.decode.assign(plan.decode.size(), 1);
  EXPECT_DOUBLE_EQ(predict(table, plan, small_request()).cache_hand_over_us, 100);
}

TEST(Planner, IsAFunctionOfTheTable) {
  RandomTables random(3);
  CostTable table = table_with_room(random, 3, 4);
  table.pools[0].size = 1 << 30;  // device 0 can do it alone
  table.devices[0].pool = 0;
  table.devices[0].memory_size = 0;
  const Plan first = make_plan(table, small_request());
  const Plan second =
      make_plan(parse_cost_table(format_cost_table(table), "again"), small_request());
  EXPECT_EQ(first.devices, second.devices);
  EXPECT_EQ(first.prefill, second.prefill);
  EXPECT_EQ(first.decode, second.decode);
}

TEST(Planner, KeepsOneCopyOfWeightsWhereMemoryHoldsNoSecond) {
  RandomTables random(5);
  CostTable table = random.make(2, 1);
  // Device 0 is better at prompts, device 1 at tokens; each copy of the FFN takes 1000 bytes.
  for (uint32_t d = 0; d < 2; ++d) {
    table.devices[d].pool = 0;
    for (NodeCost& node : table.devices[d].nodes) {
      node.weight_bytes = 0;
      node.phase(Phase::kPrefill) = {{}, {{1, 0, d == 0 ? 1.0 : 50.0, 0}}};
      node.phase(Phase::kDecode) = {{}, {{1, 0, d == 0 ? 50.0 : 1.0, 0}}};
    }
    table.devices[d].node(NodeKind::kFfn).weight_bytes = 1000;
    table.devices[d].launch_us = table.devices[d].wake_us = 0;
  }
  table.edges[0][1] = table.edges[1][0] = {};
  const uint64_t host = fixed_memory(table) + kLayerCache;
  table.pools[0].size = host + 2000;
  const Plan roomy = make_plan(table, small_request());
  EXPECT_NE(roomy.prefill[4], roomy.decode[4]);
  const CoordinatorShape shape = small_request().shape(table, roomy);
  EXPECT_FALSE(planned_shortfall(table, roomy, shape).has_value());
  table.pools[0].size = host + 1999;
  const auto lacking = planned_shortfall(table, roomy, shape);
  ASSERT_TRUE(lacking.has_value());
  EXPECT_EQ(lacking->device, "host");
  EXPECT_EQ(lacking->needed, host + 2000);
  EXPECT_EQ(lacking->available, host + 1999);
  const Plan tight = make_plan(table, small_request());
  EXPECT_EQ(tight.prefill[4], tight.decode[4]);
  EXPECT_NE(tight.prefill[1], tight.decode[1]);
  table.pools[0].size = host + 999;
  EXPECT_THROW(make_plan(table, small_request()), Error);
}

TEST(Planner, NamesTheNodeThatNoDeviceRuns) {
  RandomTables random(6);
  CostTable table = random.make(2, 1);
  for (DeviceCost& device : table.devices)
    device.node(NodeKind::kHead).phase(Phase::kDecode) = {"the vocabulary is odd", {}};
  try {
    make_plan(table, small_request());
    FAIL() << "a plan without a head";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_NE(std::string(error.what()).find("head"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("the vocabulary is odd"), std::string::npos);
  }
}

}  // namespace
}  // namespace tandem
