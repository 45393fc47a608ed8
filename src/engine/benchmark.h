// Times prompt processing and generation, by llama-bench's definitions: no tokenisation, no
// sampling, one warm-up, the cache filled to a depth before the clock starts.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace tandem {

// One measurement: a prompt of `prompt` tokens and then `generate` tokens one by one, after
// `depth` tokens that are not timed; in each of `parallel` sequences, which generate together.
struct BenchmarkTest {
  uint32_t prompt = 0, generate = 0, depth = 0, parallel = 1;

  // "pp512", "tg128", "pp512+tg128", with " x 4" for several sequences and " @ d4096" where there
  // is a depth.
  std::string name() const;
  uint32_t tokens_each() const { return prompt + generate; }
  uint32_t tokens() const { return parallel * tokens_each(); }
};

// What the devices did in the timed part of a test, all repetitions together; by phase.
using BenchmarkUse = std::array<PhaseUse, 2>;

struct BenchmarkResult {
  BenchmarkTest test;
  std::string start_time;            // UTC, ISO 8601
  std::vector<uint64_t> samples_ns;  // one per repetition
  std::vector<int32_t> ids;          // generated in the last repetition, by the first sequence
  BenchmarkUse use;
  HostMemory host_memory;                          // computed
  uint64_t resident = 0;                           // measured: now, not at its peak
  std::vector<double> samples_per_second() const;  // tokens per second
};

struct MeanDeviation {
  double mean = 0, deviation = 0;  // deviation: of the sample, n - 1
};
MeanDeviation mean_deviation(std::span<const double> samples);

// Throws kUsage when the test does not fit the engine's context or its sequences.
void check_fits(const Engine& engine, const BenchmarkTest& test);

// Throws as check_fits() does. When Ctrl-C was pressed it stops, with fewer samples.
BenchmarkResult run_benchmark(Engine& engine, const BenchmarkTest& test, uint32_t repetitions);

// Bytes a generated token reads: all weights once, and the cache at `position`.
uint64_t bytes_per_token(const Engine& engine, uint32_t position);

}  // namespace tandem
