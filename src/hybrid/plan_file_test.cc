// Plans as files: what is read, what is refused and where the message points.
// SPDX-License-Identifier: Apache-2.0
#include "hybrid/plan_file.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <random>

#include "base/env.h"
#include "base/error.h"

namespace tandem {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

ModelConfig config_of(uint32_t layer_count) {
  ModelConfig config;
  config.layers.assign(layer_count, layer_of(published_sizes().front()));
  return config;
}

ModelConfig published(std::string_view name) {
  return config_of(find_published_size(name)->shape.layers);
}

// A plan for two layers; each line is a place that the tests break.
const char* const kPlan = R"({
  "model": "gemma3-2-layers",
  "devices": ["npu", "cpu"],
  "chunk": 64,
  "pipeline_depth": 2,
  "kv": "q8_0",
  "prefill": [
    {"nodes": ["qkv", "out"], "layers": "0-1", "device": "npu"},
    {"nodes": ["core", "ffn"], "layers": "all", "device": "cpu"},
    {"nodes": ["embed", "head"], "device": "cpu"}
  ],
  "decode": [
    {"nodes": ["qkv", "core", "out", "ffn"], "layers": [0, 1], "device": "cpu"},
    {"nodes": ["embed", "head"], "device": "cpu"}
  ]
})";

// Below `count`, other numbers with every call.
class Random {
 public:
  uint32_t operator()(uint32_t count) { return static_cast<uint32_t>(generator_() % count); }

 private:
  std::mt19937 generator_{static_cast<uint32_t>(std::stoul(env("TANDEM_SEED").value_or("1")))};
};

std::string replaced(std::string text, std::string_view part, std::string_view by) {
  const size_t at = text.find(part);
  EXPECT_NE(at, std::string::npos) << part;
  return at == std::string::npos ? text : text.replace(at, part.size(), by);
}

// What parse_plan() throws.
std::pair<ErrorCode, std::string> refusal(const std::string& json) {
  try {
    parse_plan(json, "plan.json", config_of(2));
  } catch (const Error& error) {
    return {error.code(), error.what()};
  }
  ADD_FAILURE() << "accepted: " << json;
  return {};
}

TEST(PlanFile, ReadsEveryKey) {
  const Plan plan = parse_plan(kPlan, "plan.json", config_of(2));
  EXPECT_EQ(plan.model, "gemma3-2-layers");
  EXPECT_EQ(plan.devices, (std::vector<std::string>{"npu", "cpu"}));
  EXPECT_EQ(plan.chunk, 64u);
  EXPECT_EQ(plan.pipeline_depth, 2u);
  EXPECT_EQ(plan.kv, DType::kI8);
  EXPECT_EQ(plan.prefill, (std::vector<uint32_t>{1, 0, 1, 0, 1, 0, 1, 0, 1, 1}));
  EXPECT_EQ(plan.decode, std::vector<uint32_t>(10, 1));
}

TEST(PlanFile, LeavesWhatIsNotSaidToTheCommandLine) {
  std::string text = replaced(kPlan, "\"chunk\": 64,", "");
  text = replaced(text, "\"pipeline_depth\": 2,", "");
  const Plan plan = parse_plan(replaced(text, "\"kv\": \"q8_0\",", ""), "p", config_of(2));
  EXPECT_EQ(plan.chunk, 0u);
  EXPECT_EQ(plan.pipeline_depth, 1u);
  EXPECT_FALSE(plan.kv.has_value());
}

TEST(PlanFile, TakesLayersOneByOne) {
  const Plan plan = parse_plan(replaced(kPlan, "\"0-1\"", "\"1,0\""), "p", config_of(2));
  EXPECT_EQ(plan.prefill, parse_plan(kPlan, "p", config_of(2)).prefill);
}

struct BadPlan {
  const char *part, *by;  // the edit of kPlan
  const char* place;      // how the message begins, after the file's name
  const char* reason;     // what it holds
};

TEST(PlanFile, RefusalsNameThePlaceAndTheReason) {
  const BadPlan cases[] = {
      {"\"chunk\"", "\"chunks\"", "the document ", "unknown member \"chunks\""},
      {"\"layers\": \"0-1\"", "\"layer\": \"0-1\"", "/prefill/0 ", "unknown member \"layer\""},
      {"\"model\": \"gemma3-2-layers\",", "", "the document ", "lacks \"model\""},
      {"\"chunk\": 64", "\"chunk\": 0", "/chunk ", "expected 1 to"},
      {"\"chunk\": 64", "\"chunk\": -1", "/chunk ", "expected 1 to"},
      {"\"chunk\": 64", "\"chunk\": 1.5", "/chunk ", "expected a whole number"},
      {"\"chunk\": 64", "\"chunk\": 18446744073709551617", "/chunk ", "expected 1 to"},
      {"\"pipeline_depth\": 2", "\"pipeline_depth\": \"2\"", "/pipeline_depth ", "no number"},
      {"\"q8_0\"", "\"q4_0\"", "/kv ", "none of f32, f16, q8_0"},
      {"[\"npu\", \"cpu\"]", "[]", "/devices ", "lists 0 devices"},
      {"[\"npu\", \"cpu\"]", "[\"npu\", \"cpu\", \"npu\"]", "/devices/2 ", "listed already"},
      {"[\"npu\", \"cpu\"]", "[\"npu\", 7]", "/devices/1 ", "is no text"},
      {"[\"npu\", \"cpu\"]", "[\"npu\", \"c\\npu\"]", "/devices/1 ", "a control character"},
      {"\"chunk\": 64", "\"chunk\": 1e999", "/chunk ", "too large to read"},
      {"\"chunk\"", "\"a\\nb\"", "the document ", "unknown member \"a\\nb\""},
      {"\"device\": \"npu\"", "\"device\": \"gpu\"", "/prefill/0/device ", "/devices lacks"},
      {"\"qkv\", \"out\"", "", "/prefill/0/nodes ", "an empty list"},
      {"\"qkv\", \"out\"", "\"qkv\", \"up\"", "/prefill/0/nodes/1 ", "is \"up\"; the nodes are"},
      {"\"qkv\", \"out\"", "\"qkv\", \"argmax\"", "/prefill/0/nodes/1 ", "the nodes are"},
      {"\"qkv\", \"out\"", "\"out\", \"out\"", "/prefill/0/nodes/1 ", "listed already"},
      {"\"qkv\", \"out\"", "\"qkv\", \"head\"", "/prefill/0/nodes/1 ", "rules of their own"},
      {"\"qkv\", \"out\"", "\"qkv\"", "/prefill ", "no rule for out of layer 0; 2 of 10"},
      {"\"embed\", \"head\"", "\"embed\"", "/prefill ", "no rule for head"},
      {"\"core\", \"ffn\"", "\"core\", \"ffn\", \"qkv\"", "/prefill/1 ",
       "covers qkv of layer 0, as rule 0 does"},
      {"\"0-1\"", "\"0-2\"", "/prefill/0/layers ", "has layer 2; the model's last is 1"},
      {"\"0-1\"", "\"1-0\"", "/prefill/0/layers ", "runs backwards"},
      {"\"0-1\"", "\"0-1,1\"", "/prefill/0/layers ", "has layer 1 twice"},
      {"\"0-1\"", "\"1,0,1\"", "/prefill/0/layers ", "has layer 1 twice"},
      {"\"0-1\"", "\"0-\"", "/prefill/0/layers ", "none of"},
      {"\"0-1\"", "\"\"", "/prefill/0/layers ", "is no text, or empty"},
      {"\"0-1\"", "\"0-1;\"", "/prefill/0/layers ", "none of"},
      {"\"0-1\"", "\"99999999999\"", "/prefill/0/layers ", "none of"},
      {"\"0-1\"", "true", "/prefill/0/layers ", "none of"},
      {"\"0-1\"", "[0]", "/prefill/0/layers ", "none of"},
      {"\"0-1\"", "[0, 2]", "/prefill/0/layers/1 ", "is 2, expected 0 to 1"},
      {"\"layers\": \"0-1\", ", "", "/prefill/0 ", "lacks \"layers\""},
      {"\"embed\", \"head\"], ", "\"embed\", \"head\"], \"layers\": \"all\", ",
       "/prefill/2/layers ", "not part of a layer"},
      {"{\"nodes\": [\"embed\", \"head\"], \"device\": \"cpu\"}", "\"cpu\"", "/prefill/2 ",
       "is no object"},
  };
  for (const BadPlan& bad : cases) {
    const auto [code, message] = refusal(replaced(kPlan, bad.part, bad.by));
    EXPECT_EQ(code, ErrorCode::kInvalidFile) << message;
    EXPECT_THAT(message, StartsWith(std::string("plan.json: ") + bad.place));
    EXPECT_THAT(message, HasSubstr(bad.reason));
  }
}

TEST(PlanFile, TakesAsManyDevicesAsTheCacheCanTellApart) {
  const auto with_devices = [](uint32_t count) {
    std::string names = "\"npu\", \"cpu\"";
    for (uint32_t i = 2; i < count; ++i) names += fmt::format(", \"vulkan:{}\"", i);
    return replaced(kPlan, "\"npu\", \"cpu\"", names);
  };
  EXPECT_EQ(parse_plan(with_devices(31), "p", config_of(2)).devices.size(), 31u);
  EXPECT_THAT(refusal(with_devices(32)).second, HasSubstr("/devices lists 32 devices"));
}

TEST(PlanFile, QuotesNoTextWithoutEnd) {
  const auto message = refusal(replaced(kPlan, "gemma3-2", std::string(100000, 'x'))).second;
  EXPECT_THAT(message, StartsWith("plan.json: /model is longer than"));
}

TEST(PlanFile, RefusesAnotherModelsPlan) {
  const auto [code, message] = refusal(replaced(kPlan, "gemma3-2-layers", "gemma3-4b"));
  EXPECT_EQ(code, ErrorCode::kUsage);
  EXPECT_THAT(message, StartsWith("plan.json: /model "));
  EXPECT_THAT(message, HasSubstr("gemma3-4b"));
}

TEST(PlanFile, SyntaxErrorsNameLineAndColumn) {
  const auto [code, message] = refusal(replaced(kPlan, "64,", "64"));
  EXPECT_EQ(code, ErrorCode::kInvalidFile);
  EXPECT_THAT(message, StartsWith("plan.json:5:"));
}

TEST(PlanFile, EveryTruncationIsRefused) {
  const std::string whole = kPlan;
  for (size_t size = 0; size < whole.size(); ++size) refusal(whole.substr(0, size));
}

// One byte changed at random: either still a plan, with a device for every node, or refused.
TEST(PlanFile, ChangedBytesAreReadOrRefused) {
  Random random;
  size_t refused = 0;
  for (int i = 0; i < 2000; ++i) {
    std::string text = kPlan;
    text[random(static_cast<uint32_t>(text.size()))] = static_cast<char>(random(256));
    try {
      const Plan plan = parse_plan(text, "plan.json", config_of(2));
      for (uint32_t device : plan.prefill) EXPECT_LT(device, plan.devices.size());
      for (uint32_t device : plan.decode) EXPECT_LT(device, plan.devices.size());
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 1000u);
}

TEST(PlanFile, FormattedPlansReadBack) {
  Random random;
  for (int i = 0; i < 100; ++i) {
    const ModelConfig config = config_of(1 + random(40));
    Plan plan = single_device_plan("cpu", static_cast<uint32_t>(config.layers.size()));
    plan.devices = {"npu-emu", "vulkan:1", "cpu"};
    for (std::vector<uint32_t>* phase : {&plan.prefill, &plan.decode})
      for (uint32_t& device : *phase) device = random(3);
    plan.chunk = random(2) * 256;
    plan.pipeline_depth = 1 + random(3);
    if (random(2) != 0) plan.kv = DType::kI8;
    const std::string text = format_plan(plan, config);
    const Plan read = parse_plan(text, "plan.json", config);
    EXPECT_EQ(read.model, plan.model);
    EXPECT_EQ(read.devices, plan.devices);
    EXPECT_EQ(read.prefill, plan.prefill) << text;
    EXPECT_EQ(read.decode, plan.decode) << text;
    EXPECT_EQ(read.chunk, plan.chunk);
    EXPECT_EQ(read.pipeline_depth, plan.pipeline_depth);
    EXPECT_EQ(read.kv, plan.kv);
  }
}

// Where a plan puts nodes of `op`, by layer.
std::vector<std::string> placement(const Plan& plan, uint32_t layer_count, Op op) {
  std::vector<std::string> names;
  const std::vector<Node> nodes = forward_pass(layer_count);
  for (size_t i = 0; i < nodes.size(); ++i)
    if (nodes[i].op == op) names.push_back(plan.devices[plan.prefill[i]]);
  return names;
}

TEST(PlanFile, ReferencePlansPlaceWhatTheySay) {
  struct Reference {
    const char *path, *size;
    uint32_t layers, projections_on_npu;
  };
  const Reference references[] = {{"plans/execution_plan_4b.json", "4b", 34, 16},
                                  {"plans/execution_plan_27b.json", "27b", 62, 20}};
  for (const Reference& reference : references) {
    const Plan plan = read_plan(reference.path, published(reference.size));
    std::vector<std::string> projections(reference.layers, "cpu");
    std::fill_n(projections.begin(), reference.projections_on_npu, "npu");
    EXPECT_EQ(placement(plan, reference.layers, Op::kQkv), projections);
    EXPECT_EQ(placement(plan, reference.layers, Op::kAttnOut), projections);
    EXPECT_EQ(placement(plan, reference.layers, Op::kFfn),
              std::vector<std::string>(reference.layers, "vulkan"));
    for (Op op : {Op::kEmbed, Op::kAttnCore, Op::kHead})
      for (const std::string& device : placement(plan, reference.layers, op))
        EXPECT_EQ(device, "cpu");
    EXPECT_EQ(plan.prefill, plan.decode);
  }
}

TEST(PlanFile, TheDocumentsExampleIsAPlan) {
  std::ifstream file("docs/execution-plan.md");
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  const size_t begin = text.find("```json\n") + 8, end = text.find("```", begin);
  ASSERT_LT(end, text.size());
  const Plan plan =
      parse_plan(text.substr(begin, end - begin), "execution-plan.md", published("4b"));
  EXPECT_GT(plan.devices.size(), 1u);
}

TEST(Plan, HybridPutsProjectionsAndFfnOnDevicesOfTheirOwn) {
  const Plan plan = hybrid_plan("npu", "vulkan", "cpu", 2);
  EXPECT_EQ(plan.prefill, (std::vector<uint32_t>{2, 0, 2, 0, 1, 0, 2, 0, 1, 2}));
  EXPECT_EQ(plan.decode, plan.prefill);
  EXPECT_EQ(plan.model, "gemma3-2-layers");
  EXPECT_EQ(hybrid_plan("npu", "vulkan", "cpu", 62).model, "gemma3-27b");
}

}  // namespace
}  // namespace tandem
