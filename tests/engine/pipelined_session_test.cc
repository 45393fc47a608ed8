// Sessions and benchmarks over plans that keep several steps in flight.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>
#include <numeric>

#include "base/error.h"
#include "base/interrupt.h"
#include "engine/benchmark.h"
#include "engine/session.h"
#include "hybrid/plan_file.h"
#include "support/tiny_model.h"

namespace tandem {
namespace {

// A tiny model with a plan for the CPU that has `depth` steps in flight.
class PipelinedSession : public ::testing::Test {
 protected:
  std::unique_ptr<Engine> open(uint32_t depth, uint32_t sequences = 1) {
    Plan plan = single_device_plan("cpu", 8);
    plan.chunk = 8;
    plan.pipeline_depth = depth;
    const std::string path = (model_.folder() / "plan.json").string();
    std::ofstream(path) << format_plan(plan, read_config(GgufFile::open(model_.path())));
    EngineOptions options;
    options.plan = path;
    options.threads = 1;
    options.context = 128;
    options.sequences = sequences;
    options.max_outputs = sequences;
    options.max_rounds = 4;
    return std::make_unique<Engine>(model_.path(), options);
  }
  static std::vector<int32_t> tokens(uint32_t count, int32_t first = 5) {
    std::vector<int32_t> ids(count);
    std::iota(ids.begin(), ids.end(), first);
    return ids;
  }

  TinyModel model_;
};

TEST_F(PipelinedSession, ReadsAPromptAsItDoesChunkByChunk) {
  const std::vector<int32_t> prompt = tokens(42);  // ends in a chunk of two
  const auto one = open(1), three = open(3);
  Session plain(*one), pipelined(*three);
  ASSERT_TRUE(plain.append(prompt));
  ASSERT_TRUE(pipelined.append(prompt));
  EXPECT_EQ(std::vector<float>(plain.logits().begin(), plain.logits().end()),
            std::vector<float>(pipelined.logits().begin(), pipelined.logits().end()));
  EXPECT_EQ(pipelined.position(), 42u);
  for (int32_t id : {7, 8, 9}) EXPECT_EQ(pipelined.append_greedy(id), plain.append_greedy(id));
}

TEST_F(PipelinedSession, SessionsTogetherGenerateWhatTheyDoAlone) {
  for (uint32_t depth : {1u, 2u}) {
    const auto engine = open(depth, 3);
    std::vector<Session> sessions;
    std::vector<int32_t> next;
    for (uint32_t i = 0; i < 3; ++i) {
      sessions.emplace_back(*engine, i);
      sessions.back().append(tokens(5 + i, static_cast<int32_t>(10 * i)));
      next.push_back(static_cast<int32_t>(i));
    }
    auto ids = Session::append_greedy_together(sessions, next, 4);
    for (uint32_t i = 0; i < 3; ++i) next[i] = ids[i].back();
    auto more = Session::append_greedy_together(sessions, next, 2);
    for (uint32_t i = 0; i < 3; ++i) next[i] = more[i].back();
    const auto last = Session::append_greedy_together(sessions, next, 1);
    for (uint32_t i = 0; i < 3; ++i) more[i].push_back(last[i].front());
    const auto single = open(1);
    for (uint32_t i = 0; i < 3; ++i) {
      ids[i].insert(ids[i].end(), more[i].begin(), more[i].end());
      Session alone(*single);
      alone.append(tokens(5 + i, static_cast<int32_t>(10 * i)));
      int32_t id = static_cast<int32_t>(i);
      for (int32_t expected : ids[i]) {
        id = alone.append_greedy(id);
        EXPECT_EQ(id, expected) << "session " << i << ", depth " << depth;
      }
      EXPECT_TRUE(std::equal(alone.tokens().begin(), alone.tokens().end(),
                             sessions[i].tokens().begin(), sessions[i].tokens().end()));
    }
  }
}

// As after Ctrl-C, while it lives.
class AfterInterrupt {
 public:
  AfterInterrupt() {
    install_interrupt_handler();
    raise(SIGINT);
  }
  ~AfterInterrupt() { clear_interrupt(); }
};

TEST_F(PipelinedSession, GroupsThatCtrlCKeptFromStartingHaveNoTokens) {
  const auto engine = open(2, 3);  // groups of two and one
  std::vector<Session> sessions;
  for (uint32_t i = 0; i < 3; ++i) sessions.emplace_back(*engine, i);
  const std::vector<int32_t> first = {1, 2, 3};
  std::vector<std::vector<int32_t>> ids;
  {
    const AfterInterrupt interrupt;
    ids = Session::append_greedy_together(sessions, first, 4);
  }
  EXPECT_EQ(ids[0].size(), 4u);
  EXPECT_EQ(ids[1].size(), 4u);
  EXPECT_TRUE(ids[2].empty());
  EXPECT_EQ(sessions[1].position(), 4u);
  EXPECT_EQ(sessions[2].position(), 0u);
}

TEST_F(PipelinedSession, BenchmarksEndAtCtrlC) {
  for (uint32_t sequences : {1u, 3u}) {
    const auto engine = open(2, sequences);
    const AfterInterrupt interrupt;
    const BenchmarkResult result = run_benchmark(*engine, {16, 60, 0, sequences}, 3);
    EXPECT_TRUE(result.samples_ns.empty());
    EXPECT_LT(result.ids.size(), 60u);
  }
}

TEST_F(PipelinedSession, BenchmarksCountEverySequence) {
  const auto engine = open(2, 2);
  const BenchmarkTest test{16, 6, 3, 2};
  EXPECT_EQ(test.name(), "pp16+tg6 x 2 @ d3");
  EXPECT_EQ(test.tokens(), 2u * 22);
  const BenchmarkResult result = run_benchmark(*engine, test, 3);
  EXPECT_EQ(result.ids.size(), 6u);
  // What is not timed, the depth and the warm-up, is not counted either.
  EXPECT_EQ(result.use[0].devices[0].tokens, 3u * 2 * 16);
  EXPECT_EQ(result.use[1].devices[0].tokens, 3u * 2 * 6);
  EXPECT_GE(result.use[1].wall_ns, 1u);
  EXPECT_THROW(run_benchmark(*engine, {16, 6, 3, 3}, 1), Error);
}

}  // namespace
}  // namespace tandem
