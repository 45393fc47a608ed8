// Engines with plans: what a plan changes, and what is refused before anything is loaded.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>

#include "backend/backends.h"
#include "base/error.h"
#include "engine/engine.h"
#include "engine/session.h"
#include "hybrid/plan_file.h"
#include "support/tiny_model.h"

namespace tandem {
namespace {

using ::testing::HasSubstr;

const TinyModel& tiny() {
  static const TinyModel model;
  return model;
}

// A plan's file beside the model's, for as long as the object lives.
class PlanFile {
 public:
  explicit PlanFile(const std::string& text) : path_(tiny().path().parent_path() / "plan.json") {
    std::ofstream(path_) << text;
  }
  ~PlanFile() { std::filesystem::remove(path_); }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

// All nodes of tiny() on the CPU but `nodes` of layers 2 and 3, which are on `device`.
std::string plan_text(const std::string& device, const std::string& nodes,
                      const std::string& more = "") {
  const std::string rules = R"([
    {"nodes": [)" + nodes + R"(], "layers": "2-3", "device": ")" +
                            device + R"("},
    {"nodes": [)" + nodes + R"(], "layers": "0-1,4-7", "device": "cpu"},
    {"nodes": [)" +
                            std::string(nodes == "\"ffn\"" ? R"("qkv", "core", "out")"
                                                           : R"("core", "ffn")") +
                            R"(], "layers": "all", "device": "cpu"},
    {"nodes": ["embed", "head"], "device": "cpu"}])";
  return R"({"model": "gemma3-8-layers", "devices": ["cpu", ")" + device + "\"]," + more +
         "\"prefill\": " + rules + ", \"decode\": " + rules + "}";
}

EngineOptions options_with(const std::string& plan) {
  EngineOptions options;
  options.threads = 1;
  options.context = 64;
  options.plan = plan;
  return options;
}

std::vector<float> logits_of(const EngineOptions& options) {
  Engine engine(tiny().path(), options);
  Session session(engine);
  const std::vector<int32_t> ids = {5, 42, 79, 116, 153, 190, 227};
  session.append(ids);
  return {session.logits().begin(), session.logits().end()};
}

ModelConfig eight_layers() {
  ModelConfig config;
  config.layers.resize(8);
  return config;
}

// What an engine with this plan throws.
std::pair<ErrorCode, std::string> refusal(const std::string& text, bool stand_ins = false) {
  const PlanFile file(text);
  EngineOptions options = options_with(file.path());
  options.stand_ins = stand_ins;
  try {
    Engine(tiny().path(), options);
  } catch (const Error& error) {
    return {error.code(), error.what()};
  }
  ADD_FAILURE() << "accepted: " << text;
  return {};
}

TEST(EnginePlan, TakesChunkCacheTypeAndDepthFromThePlan) {
  std::string text = format_plan(single_device_plan("cpu", 8), eight_layers());
  text.insert(1, R"("chunk": 24, "kv": "f32", "pipeline_depth": 2,)");
  const PlanFile file(text);
  Engine engine(tiny().path(), options_with(file.path()));
  EXPECT_EQ(engine.coordinator().shape().max_rows, 24u);
  EXPECT_EQ(engine.coordinator().shape().slots, 2u);
  EXPECT_EQ(engine.kv(), DType::kF32);
}

TEST(EnginePlan, RefusesAPlanAndACommandLineThatDisagree) {
  std::string text = format_plan(single_device_plan("cpu", 8), eight_layers());
  text.insert(1, R"("chunk": 24, "kv": "f32",)");
  const PlanFile file(text);
  EngineOptions options = options_with(file.path());
  options.kv = DType::kF16;
  EXPECT_THROW(Engine(tiny().path(), options), Error);
  options.kv = DType::kF32;
  options.micro_batch = 32;
  EXPECT_THROW(Engine(tiny().path(), options), Error);
  options.micro_batch = 24;
  EXPECT_NO_THROW(Engine(tiny().path(), options));
  options.batch = 23;
  EXPECT_THROW(Engine(tiny().path(), options), Error);
}

TEST(EnginePlan, NoDefaultShortensThePlansChunks) {
  std::string text = format_plan(single_device_plan("cpu", 8), eight_layers());
  text.insert(1, R"("chunk": 5000,)");
  const PlanFile file(text);
  EngineOptions options = options_with(file.path());
  options.context = 6000;
  const Engine engine(tiny().path(), options);
  EXPECT_EQ(engine.options().micro_batch, 5000u);
  EXPECT_EQ(engine.options().batch, 5000u);
}

TEST(EnginePlan, OneDeviceIsTheSameByEitherFlag) {
  const PlanFile file(format_plan(single_device_plan("cpu", 8), eight_layers()));
  EXPECT_EQ(logits_of(options_with(file.path())), logits_of(options_with("")));
}

TEST(EnginePlan, RefusesDevicesThatAreUnknownTwiceOrAbsent) {
  auto [code, message] = refusal(plan_text("abacus", "\"ffn\""));
  EXPECT_EQ(code, ErrorCode::kUsage);
  EXPECT_THAT(message, HasSubstr("plan.json: /devices/1: there is no device 'abacus'"));
  EXPECT_EQ(refusal("{").first, ErrorCode::kInvalidFile);
  EngineOptions options = options_with("/nonexistent/plan.json");
  EXPECT_THROW(Engine(tiny().path(), options), Error);
}

#ifdef TANDEM_NPU
TEST(EnginePlan, RefusesANodeThatItsDeviceDoesNotRun) {
  const auto [code, message] = refusal(plan_text("npu-emu", "\"ffn\""));
  EXPECT_EQ(code, ErrorCode::kUnsupported);
  EXPECT_THAT(message, HasSubstr("plan.json: /prefill: npu-emu cannot run ffn of layer 2"));
}

// The tests' root folder for detection has no NPU.
TEST(EnginePlan, StandInsAreAskedFor) {
  setenv("TANDEM_NPU_ROOT", "/nonexistent", 1);
  const auto [code, message] = refusal(plan_text("npu", "\"qkv\", \"out\""));
  EXPECT_THAT(message, HasSubstr("plan.json: /devices/1: no usable NPU"));
  EXPECT_THAT(message, HasSubstr("--stand-ins to run its nodes on npu-emu"));
  unsetenv("TANDEM_NPU_ROOT");
}
#endif

TEST(EnginePlan, TheShadowCheckChangesNothing) {
  const std::vector<float> plain = logits_of(options_with(""));
  setenv("TANDEM_CHECK", "1", 1);
  const std::vector<float> checked = logits_of(options_with(""));
  unsetenv("TANDEM_CHECK");
  EXPECT_EQ(checked, plain);
}

}  // namespace
}  // namespace tandem
