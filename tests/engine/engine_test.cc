// Sessions, generation and conversations over small models: what is in the cache, what is left to
// say, and what is refused.
// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "engine/benchmark.h"
#include "engine/conversation.h"
#include "support/tiny_model.h"

namespace tandem {
namespace {

const char* const kStory = "models/story-14m-q4_0.gguf";

EngineOptions small_options() {
  EngineOptions options;
  options.threads = 1;
  options.context = 128;
  options.micro_batch = 16;
  options.max_outputs = 16;
  options.kv = DType::kF32;
  return options;
}

std::vector<int32_t> some_ids(size_t count) {
  std::vector<int32_t> ids(count);
  for (size_t i = 0; i < count; ++i) ids[i] = static_cast<int32_t>((i * 37 + 5) % 512);
  return ids;
}

std::vector<float> logits_after(Session& session, std::span<const int32_t> ids) {
  session.append(ids);
  return {session.logits().begin(), session.logits().end()};
}

double largest_difference(std::span<const float> a, std::span<const float> b) {
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i)
    largest = std::max(largest, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  return largest;
}

ErrorCode code_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "no error was thrown";
  return ErrorCode::kInternal;
}

// Sums of float32 in another order.
constexpr double kReordering = 1e-4;

TEST(Session, OutputsOfEveryPositionAreThoseOfShorterTexts) {
  const TinyModel model;
  Engine engine(model.path(), small_options());
  const std::vector<int32_t> ids = some_ids(40);  // longer than the window of 32
  Session whole(engine);
  std::vector<std::vector<float>> rows;
  whole.append_all(ids, [&](uint32_t, std::span<const float> row) {
    rows.emplace_back(row.begin(), row.end());
  });
  ASSERT_EQ(rows.size(), ids.size());
  for (size_t count : {1u, 17u, 33u, 40u}) {
    Session shorter(engine);
    EXPECT_LT(
        largest_difference(logits_after(shorter, std::span(ids).first(count)), rows[count - 1]),
        kReordering)
        << count;
  }
}

TEST(Session, RewindsToWhatItWas) {
  const TinyModel model;
  Engine engine(model.path(), small_options());
  const std::vector<int32_t> ids = some_ids(60);
  Session session(engine);
  const std::vector<float> before = logits_after(session, std::span(ids).first(50));
  session.append(std::span(ids).subspan(50));
  session.rewind(49);
  EXPECT_EQ(session.position(), 49u);
  EXPECT_LT(largest_difference(logits_after(session, std::span(ids).subspan(49, 1)), before),
            kReordering);
  session.rewind(0);
  EXPECT_EQ(session.room(), engine.options().context);
}

TEST(Session, RefusesWhatDoesNotFit) {
  const TinyModel model;
  Engine engine(model.path(), small_options());
  Session session(engine);
  EXPECT_EQ(code_of([&] { session.append(some_ids(129)); }), ErrorCode::kUsage);
  EXPECT_EQ(session.position(), 0u);
  const std::vector<int32_t> outside = {512};
  EXPECT_EQ(code_of([&] { session.append(outside); }), ErrorCode::kUsage);
}

TEST(Engine, RefusesAContextBeyondMemoryAndAnUnknownDevice) {
  const TinyModel model;
  EngineOptions options = small_options();
  options.context = 1u << 30;
  EXPECT_EQ(code_of([&] { Engine(model.path(), options); }), ErrorCode::kOutOfMemory);
  options = small_options();
  options.device = "abacus";
  EXPECT_EQ(code_of([&] { Engine(model.path(), options); }), ErrorCode::kUsage);
}

TEST(Coordinator, SequencesOfOneStepDoNotSeeEachOther) {
  const TinyModel model;
  EngineOptions options = small_options();
  options.sequences = 3;
  Engine engine(model.path(), options);
  const std::vector<int32_t> ids = some_ids(12);
  // Sequence s has the ids from s on; the rows of the three take turns.
  std::vector<StepRow> rows;
  for (uint32_t i = 0; i < 4; ++i)
    for (uint32_t s = 0; s < 3; ++s)
      rows.push_back({static_cast<uint32_t>(ids[s * 3 + i]), s, i, i == 3});
  engine.coordinator().run(rows, Tail::kNone);
  std::vector<std::vector<float>> together;
  for (uint32_t s = 0; s < 3; ++s) {
    const auto logits = engine.coordinator().logits(s);
    together.emplace_back(logits.begin(), logits.end());
  }
  Engine other(model.path(), small_options());
  for (uint32_t s = 0; s < 3; ++s) {
    Session alone(other);
    EXPECT_LT(
        largest_difference(logits_after(alone, std::span(ids).subspan(s * 3, 4)), together[s]),
        kReordering)
        << s;
  }
}

GenerateOptions drawing_options(uint32_t max_tokens) {
  GenerateOptions options;
  options.max_tokens = max_tokens;
  options.sampling.seed = 3;
  options.ignore_stop_tokens = true;
  return options;
}

TEST(Generator, DrawsOtherNumbersInItsSecondCall) {
  Engine engine(kStory, small_options());
  const Tokenizer tokenizer(read_vocabulary(engine.file()));
  const std::vector<int32_t> prompt = tokenizer.encode("Once upon a time", {true, false});
  Session session(engine);
  Generator generator(session, tokenizer, drawing_options(12));
  const GenerateResult first = generator.generate(prompt, {});
  session.rewind(0);
  const GenerateResult second = generator.generate(prompt, {});
  EXPECT_NE(first.ids, second.ids);
  Session other(engine);
  EXPECT_EQ(Generator(other, tokenizer, drawing_options(12)).generate(prompt, {}).ids, first.ids);
}

// The ids of a conversation, turn by turn as the template writes it with the replies in between.
class Transcript {
 public:
  explicit Transcript(const Tokenizer& tokenizer) : template_(tokenizer) {}
  void add(const std::string& text, const std::vector<int32_t>& reply) {
    const std::vector<Message> message = {{Role::kUser, text}};
    append(template_.encode_turns(message, ids.empty(), true));
    append(reply);
    append(template_.turn_end());
  }
  std::vector<int32_t> ids;

 private:
  void append(std::span<const int32_t> more) { ids.insert(ids.end(), more.begin(), more.end()); }
  ChatTemplate template_;
};

TEST(Conversation, LosesNoTokenBetweenTurns) {
  Engine engine(kStory, small_options());
  const Tokenizer tokenizer(read_vocabulary(engine.file()));
  // A penalty far below 1 makes the model say one token again and again, also as the last two.
  for (const float penalty : {1.0f, 0.001f}) {
    GenerateOptions options = drawing_options(5);
    options.sampling.repetition_penalty = penalty;
    options.sampling.repetition_window = 1;
    options.sampling.top_k = 1;
    Conversation conversation(engine, tokenizer, options);
    Transcript transcript(tokenizer);
    bool equal_end = false;
    for (const char* text : {"Tell me a story.", "<end_of_turn>", "Go on."}) {
      const GenerateResult result = conversation.reply(text, {});
      ASSERT_EQ(result.ids.size(), 5u);
      equal_end |= result.ids[3] == result.ids[4];
      transcript.add(text, result.ids);
      EXPECT_EQ(conversation.tokens(), transcript.ids);
    }
    EXPECT_EQ(equal_end, penalty < 1);
  }
}

TEST(Conversation, IsUnchangedByATurnThatDoesNotFit) {
  Engine engine(kStory, small_options());
  const Tokenizer tokenizer(read_vocabulary(engine.file()));
  Conversation conversation(engine, tokenizer, drawing_options(5));
  conversation.reply("Hello.", {});
  const std::vector<int32_t> before = conversation.tokens();
  std::string text;
  for (int i = 0; i < 100; ++i) text += "many words ";
  EXPECT_EQ(code_of([&] { conversation.reply(text, {}); }), ErrorCode::kUsage);
  EXPECT_EQ(conversation.tokens(), before);
  EXPECT_EQ(conversation.reply("Go on.", {}).ids.size(), 5u);
}

TEST(Benchmark, NamesTestsAsLlamaBenchDoes) {
  EXPECT_EQ((BenchmarkTest{512, 0, 0}).name(), "pp512");
  EXPECT_EQ((BenchmarkTest{0, 128, 4096}).name(), "tg128 @ d4096");
  EXPECT_EQ((BenchmarkTest{16, 4, 0}).name(), "pp16+tg4");
}

TEST(Benchmark, DeviationIsThatOfASample) {
  const std::vector<double> samples = {2, 4, 6};
  EXPECT_DOUBLE_EQ(mean_deviation(samples).mean, 4);
  EXPECT_DOUBLE_EQ(mean_deviation(samples).deviation, 2);
  EXPECT_DOUBLE_EQ(mean_deviation(std::span(samples).first(1)).deviation, 0);
}

TEST(Benchmark, GeneratesTheIdsOfStepwiseArgmax) {
  const TinyModel model;
  Engine engine(model.path(), small_options());
  const BenchmarkResult result = run_benchmark(engine, {0, 6, 0}, 1);
  const BenchmarkResult again = run_benchmark(engine, {0, 6, 0}, 2);
  EXPECT_EQ(result.ids.size(), 6u);
  EXPECT_EQ(result.ids, again.ids);
  EXPECT_EQ(again.samples_ns.size(), 2u);
}

}  // namespace
}  // namespace tandem
