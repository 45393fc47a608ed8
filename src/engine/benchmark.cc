// SPDX-License-Identifier: Apache-2.0
#include "engine/benchmark.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <random>
#include <utility>

#include "base/error.h"
#include "base/host_memory.h"
#include "base/interrupt.h"
#include "engine/session.h"
#include "model/kv_cache.h"

namespace tandem {
namespace {

constexpr uint32_t kWarmUpTokens = 16;  // generated before a generation test is timed
constexpr uint64_t kSeed = 42;          // of the random prompts: the same in every run

std::vector<int32_t> random_tokens(uint32_t count, uint32_t vocab) {
  std::mt19937_64 generator(kSeed);
  std::vector<int32_t> ids(count);
  for (int32_t& id : ids) id = static_cast<int32_t>(generator() % vocab);
  return ids;
}

// Generates `count` tokens after `first`, several per submit where the engine allows it.
void generate(Session& session, int32_t first, uint32_t count, std::vector<int32_t>& ids,
              uint32_t max_rounds) {
  int32_t token = first;
  for (uint32_t done = 0; done < count && !interrupted();) {
    const auto round = session.append_greedy_rounds(token, std::min(max_rounds, count - done));
    ids.insert(ids.end(), round.begin(), round.end());
    token = round.back();
    done += static_cast<uint32_t>(round.size());
  }
}

// The same in several sequences side by side; `ids` are the first one's.
void generate_together(std::span<Session> sessions, int32_t first, uint32_t count,
                       std::vector<int32_t>& ids, uint32_t max_rounds) {
  std::vector<int32_t> tokens(sessions.size(), first);
  for (uint32_t done = 0; done < count && !interrupted();) {
    const uint32_t rounds = std::min(max_rounds, count - done);
    const auto next = Session::append_greedy_together(sessions, tokens, rounds);
    if (next.back().empty()) return;  // interrupted
    ids.insert(ids.end(), next.front().begin(), next.front().end());
    for (size_t i = 0; i < next.size(); ++i) tokens[i] = next[i].back();
    done += rounds;
  }
}

// One repetition; returns its nanoseconds, and adds what the devices did meanwhile to `use`.
uint64_t repeat_once(Engine& engine, const BenchmarkTest& test, std::span<const int32_t> tokens,
                     std::vector<int32_t>& ids, BenchmarkUse& use) {
  Coordinator& coordinator = engine.coordinator();
  std::vector<Session> sessions;
  for (uint32_t i = 0; i < test.parallel; ++i) {
    sessions.emplace_back(engine, i);
    sessions.back().append(tokens.first(test.depth));
  }
  coordinator.reset_counters();
  const auto start = std::chrono::steady_clock::now();
  if (test.prompt > 0)
    for (Session& session : sessions) session.append(tokens.subspan(test.depth, test.prompt));
  ids.clear();
  const uint32_t rounds = engine.options().max_rounds;
  if (test.generate > 0 && test.parallel == 1)
    generate(sessions.front(), tokens.back(), test.generate, ids, rounds);
  else if (test.generate > 0)
    generate_together(sessions, tokens.back(), test.generate, ids, rounds);
  const auto elapsed = std::chrono::steady_clock::now() - start;
  for (Phase phase : {Phase::kPrefill, Phase::kDecode})
    use[static_cast<size_t>(phase)] += coordinator.use(phase);
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(elapsed).count());
}

}  // namespace

std::string BenchmarkTest::name() const {
  std::string text;
  if (prompt > 0) text = fmt::format("pp{}", prompt);
  if (generate > 0) text += fmt::format("{}tg{}", prompt > 0 ? "+" : "", generate);
  if (parallel > 1) text += fmt::format(" x {}", parallel);
  if (depth > 0) text += fmt::format(" @ d{}", depth);
  return text;
}

std::vector<double> BenchmarkResult::samples_per_second() const {
  std::vector<double> speeds;
  for (uint64_t ns : samples_ns) speeds.push_back(1e9 * test.tokens() / static_cast<double>(ns));
  return speeds;
}

MeanDeviation mean_deviation(std::span<const double> samples) {
  if (samples.empty()) return {};
  const auto count = static_cast<double>(samples.size());
  double sum = 0, squares = 0;
  for (double s : samples) sum += s;
  const double mean = sum / count;
  for (double s : samples) squares += (s - mean) * (s - mean);
  return {mean, samples.size() > 1 ? std::sqrt(squares / (count - 1)) : 0};
}

void check_fits(const Engine& engine, const BenchmarkTest& test) {
  const uint32_t needed = test.depth + test.tokens_each();
  if (needed > engine.options().context)
    throw Error(ErrorCode::kUsage,
                fmt::format("test {} needs a context of {} tokens, there are {}; give -c",
                            test.name(), needed, engine.options().context));
  if (test.parallel > engine.options().sequences)
    throw Error(ErrorCode::kUsage,
                fmt::format("test {} has {} sequences and the engine {}", test.name(),
                            test.parallel, engine.options().sequences));
}

BenchmarkResult run_benchmark(Engine& engine, const BenchmarkTest& test, uint32_t repetitions) {
  check_fits(engine, test);
  const std::vector<int32_t> tokens =
      random_tokens(test.depth + test.prompt + 1, engine.config().vocab);
  BenchmarkResult result;
  result.test = test;
  result.start_time = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
  BenchmarkTest warm_up = test;
  warm_up.depth = 0;
  warm_up.generate = std::min(test.generate, kWarmUpTokens);
  repeat_once(engine, warm_up, tokens, result.ids, result.use);
  result.use = {};
  for (uint32_t i = 0; i < repetitions; ++i) {
    BenchmarkUse use = result.use;
    const uint64_t ns = repeat_once(engine, test, tokens, result.ids, use);
    if (interrupted()) break;  // the repetition may not have been a whole one
    result.use = std::move(use);
    result.samples_ns.push_back(ns);
  }
  result.host_memory = engine.host_memory();
  result.resident = resident_size();
  return result;
}

uint64_t bytes_per_token(const Engine& engine, uint32_t position) {
  const DType kv = engine.kv();
  uint64_t total = engine.weights().size_per_token();
  for (const LayerConfig& layer : engine.config().layers) {
    const uint64_t seen = layer.window == 0 ? position : std::min(position, layer.window);
    total += seen * kv_position_size(layer.kv_width(), kv);
  }
  return total;
}

}  // namespace tandem
