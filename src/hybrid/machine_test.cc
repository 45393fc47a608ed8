// Machine files: the ones we ship, rooflines by hand, files that are wrong, and who wins where.
// SPDX-License-Identifier: Apache-2.0
#include "hybrid/machine.h"

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"
#include "base/json_value.h"
#include "hybrid/plan_file.h"
#include "hybrid/planner.h"
#include "hybrid/simulator.h"

namespace tandem {
namespace {

constexpr const char* kPhoenix = "machines/phoenix-780m-ddr5-5600.json";

// In place of the NPU's timing model: `us_per_row` for each row, the weights once.
ArrayTimer array_of(double us_per_row) {
  return [us_per_row](const ArrayRequest& request) {
    return ArrayTime{us_per_row * request.rows, 1e6, 1000000};
  };
}

CostTable costs(const Machine& machine, const char* size_name, double array_us_per_row) {
  const PublishedSize& size = *find_published_size(size_name);
  return predict_costs(machine, config_of(size), shape_of(size, DType::kF16),
                       array_of(array_us_per_row));
}

TEST(Machine, EveryShippedFileIsReadAndGivesCosts) {
  for (const char* path :
       {kPhoenix, "machines/hawkpoint-780m-lpddr5x-7500.json", "machines/strix-890m.json"}) {
    const Machine machine = read_machine(path);
    EXPECT_EQ(machine.devices.size(), 3u) << path;
    const CostTable table = costs(machine, "4b", 10);
    EXPECT_TRUE(table.predicted);
    EXPECT_EQ(table.contention.size(), 4u);
    // What a prediction is written to can be read again.
    EXPECT_EQ(format_cost_table(parse_cost_table(format_cost_table(table), path)),
              format_cost_table(table));
  }
}

// 27B in Q4_0: 25.6e9 weights of 4.5 bits in the layers and 1.41e9 of 6.5625 in the head.
TEST(Machine, DecodeOfALargeModelIsBoundByItsBandwidth) {
  const Machine machine = read_machine(kPhoenix);
  const CostTable table = costs(machine, "27b", 10);
  const Plan plan = single_device_plan("vulkan", 62);
  PlanRequest request;
  request.prompt = 1;
  request.generate = 1;
  const double predicted = predict(table, plan, request).generate_tokens_per_second;
  const double ceiling = 73e9 / (25.598e9 * 4.5 / 8 + 1.409e9 * 6.5625 / 8);
  EXPECT_LT(predicted, ceiling);
  EXPECT_GT(predicted, 0.95 * ceiling);
}

// One row of the roofline table by hand: the FFN of the 4B for 512 rows on the 780M.
TEST(Machine, ProductsOverManyRowsAreBoundByOperations) {
  const CostTable table = costs(read_machine(kPhoenix), "4b", 10);
  const PhaseCost& ffn = table.devices[1].node(NodeKind::kFfn).phase(Phase::kPrefill);
  const double product = 2.0 * 512 * 3 * 2560 * 10240 / 6.6e12;
  const double activations = 4.0 * 512 * (2 * 2560 + 6 * 10240) / 73e9;
  EXPECT_NEAR(ffn.at(512, 0).us, 1e6 * (product + activations), 1);
}

TEST(Machine, APromptReadsTheHeadOnce) {
  const CostTable table = costs(read_machine(kPhoenix), "4b", 10);
  for (Phase phase : {Phase::kPrefill, Phase::kDecode}) {
    const double us = node_time(table, 1, NodeKind::kHead, phase, {1, 0, true}).us;
    EXPECT_NEAR(us, 2560.0 * 262144 * 6.5625 / 8 / 73e3, 0.01 * us);
  }
}

TEST(Machine, TheArrayRunsProjectionsOnly) {
  const CostTable table = costs(read_machine(kPhoenix), "4b", 10);
  const DeviceCost& npu = table.devices[2];
  EXPECT_TRUE(npu.node(NodeKind::kQkv).phase(Phase::kDecode).supported());
  EXPECT_FALSE(npu.node(NodeKind::kFfn).phase(Phase::kDecode).supported());
  EXPECT_GE(npu.node(NodeKind::kOut).phase(Phase::kPrefill).at(128, 0).us, 1280);
}

// A long prompt in chunks that may overlap: worth sharing where a hand-over costs microseconds, not
// where it costs a second.
TEST(Machine, AMixedPlanWinsOnOneMachineAndASingleDeviceOnAnother) {
  Machine machine = read_machine(kPhoenix);
  PlanRequest request;
  request.prompt = 1024;
  request.generate = 1;
  request.chunk = 256;
  request.depth = 4;
  const CostTable near = costs(machine, "270m", 2);
  machine.edge_us.value = 1e6;
  const CostTable far = costs(machine, "270m", 2);
  const Plan mixed = make_plan(near, request), single = make_plan(far, request);
  EXPECT_GT(mixed.devices.size(), 1u);
  EXPECT_EQ(single.devices, std::vector<std::string>{"vulkan"});
  for (const char* device : {"cpu", "vulkan"}) {
    Plan alone = single_device_plan(device, 18);
    alone.chunk = request.chunk;
    EXPECT_LT(predict(near, mixed, request).us(), predict(near, alone, request).us()) << device;
    EXPECT_LE(predict(far, single, request).us(), predict(far, alone, request).us() * 1.000001);
  }
}

// In place of the NPU's timing model: about what it says of 256 rows at 1.03 GHz, by products.
ArrayTime projections_at_a_gigahertz(const ArrayRequest& request) {
  const LayerConfig& layer = *request.layer;
  const double width =
      request.op == Op::kQkv ? layer.q_width() + 2.0 * layer.kv_width() : layer.q_width();
  const double products = request.rows * width * layer.hidden;
  return {products / 4.6e5, width * layer.hidden * 0.5625,
          static_cast<uint64_t>(width * layer.hidden * 0.5625)};
}

// A long prompt, overlapped: what was written by hand must not beat the planner.
TEST(Machine, ThePlannersPlanIsNotSlowerThanTheReferencePlan) {
  const PublishedSize& size = *find_published_size("27b");
  const ModelConfig config = config_of(size);
  const CostTable table = predict_costs(read_machine(kPhoenix), config, shape_of(size, DType::kF16),
                                        projections_at_a_gigahertz);
  PlanRequest request;
  request.prompt = 768;
  request.generate = 16;
  request.chunk = 256;
  request.depth = 3;
  Plan reference = read_plan("plans/execution_plan_27b.json", config);
  reference.chunk = request.chunk;
  reference.pipeline_depth = request.depth;
  const Prediction ours = predict(table, make_plan(table, request), request);
  const Prediction by_hand = predict(table, reference, request);
  EXPECT_GE(ours.prompt_tokens_per_second, 0.99 * by_hand.prompt_tokens_per_second);
  EXPECT_GE(ours.generate_tokens_per_second, 0.99 * by_hand.generate_tokens_per_second);
}

std::string failure(const std::string& piece, const std::string& replacement) {
  std::string text = to_text(read_json(kPhoenix), true);
  const size_t at = text.find(piece);
  EXPECT_NE(at, std::string::npos) << piece;
  text.replace(at, piece.size(), replacement);
  try {
    parse_machine(text, "m.json");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidFile);
    return error.what();
  }
  return "nothing was wrong";
}

TEST(Machine, NamesThePlaceOfWhatIsWrong) {
  EXPECT_NE(failure("89600000000.0", "-1").find("m.json: /memory_bandwidth/value is -1"),
            std::string::npos);
  EXPECT_NE(failure("89600000000.0", "89.6").find("/memory_bandwidth/value is 89.6, expected"),
            std::string::npos);
  EXPECT_NE(failure("89600000000.0", "60e9").find("more than the memory's peak"),
            std::string::npos);
  EXPECT_NE(failure("\"source\": \"5600e6", "\"sauce\": \"5600e6").find("\"sauce\""),
            std::string::npos);
  EXPECT_NE(failure("\"assumption\": \"two modules of 16 GB\"", "\"source\": \"\"").find("empty"),
            std::string::npos);
  EXPECT_NE(failure("\"kind\": \"array\"", "\"kind\": \"toaster\"").find("is 'toaster'"),
            std::string::npos);
  EXPECT_NE(failure("55400000000.0", "99e9").find("more than the device reaches alone"),
            std::string::npos);
  EXPECT_NE(
      failure("\"together\": [", "\"together\": [{},").find("/contention/together/0 names fewer"),
      std::string::npos);
  EXPECT_NE(failure("\"together\": [",
                    "\"together\": [{\"vulkan\": 55400000000.0, \"cpu\": 28000000000.0},")
                .find("/contention/together/1 is of the same devices"),
            std::string::npos);
  EXPECT_NE(failure("\"name\": \"npu\"", "\"name\": \"cpu\"").find("earlier device"),
            std::string::npos);
}

}  // namespace
}  // namespace tandem
