// Whole models against an independent implementation: logits, greedy text, perplexity. CTest runs
// this program once for each instruction set (TANDEM_CPU_ISA).
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>

#include "base/error.h"
#include "cpu/isa.h"
#include "engine/engine.h"
#include "engine/session.h"
#include "golden/whole_model.h"
#include "model/tokenizer.h"

namespace tandem {
namespace {

class Golden : public ::testing::Test {
 protected:
  void SetUp() override {
    try {
      cpu::choose_kernels("");
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();  // TANDEM_CPU_ISA names what this CPU lacks
    }
  }
};

class GoldenModel : public Golden, public ::testing::WithParamInterface<const char*> {
 protected:
  std::filesystem::path model() const {
    return test_assets() / "models" / (std::string(GetParam()) + ".gguf");
  }
  std::filesystem::path json() const {
    return test_assets() / "reference" / (std::string(GetParam()) + ".json");
  }
};

class GoldenExact : public GoldenModel {};

TEST_P(GoldenExact, LogitsAgreeWithF32Cache) {
  TANDEM_REQUIRE_ASSET(json());
  const Outcome outcome =
      compare(read_reference(json()), model(), options_for(0, DType::kF32), kF32CacheError);
  EXPECT_LT(outcome.worst_error, kF32CacheError);
  EXPECT_EQ(outcome.wrong_argmax, 0u);
}

TEST_P(GoldenExact, LogitsAgreeWithF16Cache) {
  TANDEM_REQUIRE_ASSET(json());
  const Outcome outcome =
      compare(read_reference(json()), model(), options_for(0, DType::kF16), kF16CacheError);
  EXPECT_LT(outcome.worst_error, kF16CacheError);
  EXPECT_EQ(outcome.wrong_argmax, 0u);
}

// "Models/GoldenExact.LogitsAgreeWithF32Cache/tiny_1b_bf16"
std::string model_name(const ::testing::TestParamInfo<const char*>& parameter) {
  std::string name = parameter.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenExact,
                         ::testing::Values("story-14m-bf16", "tiny-1b-bf16", "tiny-4b-bf16",
                                           "tiny-27b-bf16"),
                         model_name);

class GoldenQuantised : public GoldenModel {};

TEST_P(GoldenQuantised, LogitsAgree) {
  TANDEM_REQUIRE_ASSET(json());
  const Reference reference = read_reference(json());
  const Outcome f16 =
      compare(reference, model(), options_for(0, DType::kF16), kQuantisedMarginShare);
  EXPECT_LT(f16.mean_divergence, kQuantisedDivergence);
  EXPECT_EQ(f16.wrong_argmax, 0u);
  const Outcome q8 = compare(reference, model(), options_for(0, DType::kI8), kQuantisedMarginShare);
  EXPECT_LT(q8.mean_divergence, f16.mean_divergence + kQ8CacheDivergence);
}

TEST_P(GoldenQuantised, GreedyTextAgrees) {
  TANDEM_REQUIRE_ASSET(json());
  expect_greedy(read_reference(json()), model(), options_for(1024, DType::kF16));
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenQuantised,
                         ::testing::Values("story-14m-q4_0", "story-14m-q8_0", "story-14m-q4_k_m",
                                           "story-14m-q6_k"),
                         model_name);

// The bundled model and the results committed beside this file: meaningful without any asset.
TEST_F(Golden, BundledModelContinuesAsTheReferenceDoes) {
  const Reference reference = read_reference("tests/golden/story-14m-q4_0.json");
  expect_greedy(reference, "models/story-14m-q4_0.gguf", options_for(1024, DType::kF16));
}

TEST_F(Golden, BundledModelTokenizesAsTheReferenceDoes) {
  const GgufFile file = GgufFile::open("models/story-14m-q4_0.gguf");
  const Tokenizer tokenizer(read_vocabulary(file));
  for (const ReferencePrompt& prompt : read_reference("tests/golden/story-14m-q4_0.json").prompts)
    EXPECT_EQ(tokenizer.encode(prompt.text, {true, true}), prompt.ids) << prompt.text;
}

TEST_F(Golden, ChunksOfAnySizeGiveTheSameText) {
  const Reference reference = read_reference("tests/golden/story-14m-q4_0.json");
  const ReferencePrompt& prompt = reference.prompts.back();
  std::vector<float> first;
  for (uint32_t chunk : {1u, 2u, 7u, 512u}) {
    EngineOptions options = options_for(256, DType::kF32);
    options.micro_batch = chunk;
    Engine engine("models/story-14m-q4_0.gguf", options);
    Session session(engine);
    session.append(prompt.ids);
    const std::vector<float> logits(session.logits().begin(), session.logits().end());
    if (first.empty()) first = logits;
    EXPECT_LT(relative_error(first, logits), kF32CacheError) << "chunks of " << chunk;
  }
}

TEST_F(Golden, ThreadsDoNotChangeABit) {
  const Reference reference = read_reference("tests/golden/story-14m-q4_0.json");
  std::vector<float> first;
  for (uint32_t threads : {1u, 2u, 3u}) {
    EngineOptions options = options_for(256, DType::kF16);
    options.threads = threads;
    Engine engine("models/story-14m-q4_0.gguf", options);
    Session session(engine);
    session.append(reference.prompts.front().ids);
    for (int32_t id : {1, 2, 3}) session.append({&id, 1});
    const std::vector<float> logits(session.logits().begin(), session.logits().end());
    if (first.empty()) first = logits;
    EXPECT_EQ(first, logits) << threads << " threads";
  }
}

// Sequences that share a step do not see each other.
TEST_F(Golden, SequencesOfOneStepAreIndependent) {
  const Reference reference = read_reference("tests/golden/story-14m-q4_0.json");
  const ReferencePrompt& a = reference.prompts[0];
  const ReferencePrompt& b = reference.prompts[1];
  EngineOptions options = options_for(64, DType::kF32);
  options.sequences = 2;
  Engine engine("models/story-14m-q4_0.gguf", options);
  std::vector<StepRow> rows;
  for (size_t i = 0; i < std::max(a.ids.size(), b.ids.size()); ++i)
    for (uint32_t s = 0; s < 2; ++s) {
      const std::vector<int32_t>& ids = s == 0 ? a.ids : b.ids;
      if (i < ids.size())
        rows.push_back(
            {static_cast<uint32_t>(ids[i]), s, static_cast<uint32_t>(i), i + 1 == ids.size()});
    }
  engine.coordinator().run(rows, Tail::kNone);
  const std::vector<float> got_a(engine.coordinator().logits(0).begin(),
                                 engine.coordinator().logits(0).end());
  const std::vector<float> got_b(engine.coordinator().logits(1).begin(),
                                 engine.coordinator().logits(1).end());
  for (const auto& [prompt, got] : {std::pair(&a, &got_a), std::pair(&b, &got_b)}) {
    Engine alone("models/story-14m-q4_0.gguf", options_for(64, DType::kF32));
    Session session(alone);
    session.append(prompt->ids);
    EXPECT_LT(relative_error(session.logits(), *got), kF32CacheError) << prompt->text;
  }
}

TEST_F(Golden, PerplexityAgrees) {
  const std::filesystem::path text_path = test_assets() / "reference" / "heldout.txt";
  TANDEM_REQUIRE_ASSET(text_path);
  const Reference reference = read_reference("tests/golden/story-14m-q4_0.json");
  std::ostringstream text;
  text << std::ifstream(text_path).rdbuf();
  constexpr uint32_t kWindow = 512, kTargets = 8192;
  Engine engine("models/story-14m-q4_0.gguf", options_for(kWindow, DType::kF16));
  const Tokenizer tokenizer(read_vocabulary(engine.file()));
  const std::vector<int32_t> ids = tokenizer.encode(text.str(), {true, false});
  ASSERT_GT(ids.size(), size_t{kTargets});
  double sum = 0;
  for (uint32_t start = 0; start < kTargets; start += kWindow) {
    Session session(engine);
    session.append_all(
        std::span(ids).subspan(start, kWindow), [&](uint32_t i, std::span<const float> logits) {
          double top = *std::max_element(logits.begin(), logits.end()), total = 0;
          for (float logit : logits) total += std::exp(static_cast<double>(logit) - top);
          sum += std::log(total) + top -
                 static_cast<double>(logits[static_cast<size_t>(ids[start + i + 1])]);
        });
  }
  EXPECT_NEAR(std::exp(sum / kTargets), reference.perplexity,
              kPerplexityShare * reference.perplexity);
}

}  // namespace
}  // namespace tandem
