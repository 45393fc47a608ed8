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
#include "golden/reference.h"
#include "model/tokenizer.h"

namespace tandem {
namespace {

// Bounds of a whole model. Unquantised weights: float32 rounding with an f32 cache, the rounding
// of keys and values to 11 bits with an f16 one. Quantised weights: activations are int8 in groups
// of 32, which costs about 1.1e-3 nats when every product uses it.
constexpr double kF32CacheError = 5e-5, kF16CacheError = 2e-3;
constexpr double kQuantisedDivergence = 3e-3, kQ8CacheDivergence = 1e-3;
constexpr double kPerplexityShare = 0.01;
// Logit error of a quantised model, as a share of the row's largest magnitude, for judging whether
// two candidates are too close to call: the largest of the kept rows was below it.
constexpr double kQuantisedMarginShare = 0.06;

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

EngineOptions options_for(uint32_t context, DType kv) {
  EngineOptions options;
  options.context = context;
  options.max_outputs = 64;
  options.kv = kv;
  return options;
}

struct Outcome {
  double worst_error = 0;      // relative, over the kept rows
  double mean_divergence = 0;  // over the kept rows
  size_t wrong_argmax = 0;     // where the margin exceeded twice the bound
};

// Runs every prompt and compares the kept rows; `bound` is what a logit may be off, relative to its
// row's largest magnitude.
Outcome compare(const Reference& reference, const std::filesystem::path& model, DType kv,
                double bound) {
  uint32_t longest = 0;
  for (const ReferencePrompt& p : reference.prompts)
    longest = std::max(longest, static_cast<uint32_t>(p.ids.size()));
  Engine engine(model, options_for(longest, kv));
  Outcome outcome;
  size_t rows = 0;
  for (const ReferencePrompt& prompt : reference.prompts) {
    Session session(engine);
    size_t next = 0;
    session.append_all(prompt.ids, [&](uint32_t position, std::span<const float> got) {
      const auto top = std::max_element(got.begin(), got.end());
      const auto argmax = static_cast<int32_t>(top - got.begin());
      if (argmax != prompt.argmax[position]) {
        const double margin = *top - got[static_cast<size_t>(prompt.argmax[position])];
        const double largest = std::abs(*std::max_element(
            got.begin(), got.end(), [](float a, float b) { return std::abs(a) < std::abs(b); }));
        if (margin > 2 * bound * largest) ++outcome.wrong_argmax;
      }
      if (next >= prompt.kept.size() || prompt.kept[next] != position) return;
      const std::vector<float>& want = prompt.logits[next++];
      outcome.worst_error = std::max(outcome.worst_error, relative_error(want, got));
      outcome.mean_divergence += divergence(want, got);
      ++rows;
    });
  }
  outcome.mean_divergence /= static_cast<double>(rows);
  return outcome;
}

// Greedy continuation, equal while the reference's margin exceeds what the logits may be off.
void expect_greedy(const Reference& reference, const std::filesystem::path& model) {
  Engine engine(model, options_for(1024, DType::kF16));
  for (const ReferencePrompt& prompt : reference.prompts) {
    if (prompt.ids.size() + prompt.greedy.size() > 1024) continue;
    Session session(engine);
    session.append(prompt.ids);
    const auto logits = session.logits();
    double largest = 0;
    for (float logit : logits) largest = std::max(largest, std::abs(static_cast<double>(logit)));
    auto id = static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    for (size_t i = 0; i < prompt.greedy.size(); ++i) {
      if (id != prompt.greedy[i]) {
        EXPECT_LT(prompt.margins[i], kQuantisedMarginShare * largest)
            << prompt.text << ", token " << i;
        break;
      }
      id = session.append_greedy(id);
    }
  }
}

// An asset's reference, or a skip that names it.
#define TANDEM_REQUIRE_ASSET(path) \
  if (!std::filesystem::exists(path)) GTEST_SKIP() << (path) << " is not there (TANDEM_TEST_ASSETS)"

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
  const Outcome outcome = compare(read_reference(json()), model(), DType::kF32, kF32CacheError);
  EXPECT_LT(outcome.worst_error, kF32CacheError);
  EXPECT_EQ(outcome.wrong_argmax, 0u);
}

TEST_P(GoldenExact, LogitsAgreeWithF16Cache) {
  TANDEM_REQUIRE_ASSET(json());
  const Outcome outcome = compare(read_reference(json()), model(), DType::kF16, kF16CacheError);
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
  const Outcome f16 = compare(reference, model(), DType::kF16, kQuantisedMarginShare);
  EXPECT_LT(f16.mean_divergence, kQuantisedDivergence);
  EXPECT_EQ(f16.wrong_argmax, 0u);
  const Outcome q8 = compare(reference, model(), DType::kI8, kQuantisedMarginShare);
  EXPECT_LT(q8.mean_divergence, f16.mean_divergence + kQ8CacheDivergence);
}

TEST_P(GoldenQuantised, GreedyTextAgrees) {
  TANDEM_REQUIRE_ASSET(json());
  expect_greedy(read_reference(json()), model());
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenQuantised,
                         ::testing::Values("story-14m-q4_0", "story-14m-q8_0", "story-14m-q4_k_m",
                                           "story-14m-q6_k"),
                         model_name);

// The bundled model and the results committed beside this file: meaningful without any asset.
TEST_F(Golden, BundledModelContinuesAsTheReferenceDoes) {
  const Reference reference = read_reference("tests/golden/story-14m-q4_0.json");
  expect_greedy(reference, "models/story-14m-q4_0.gguf");
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
