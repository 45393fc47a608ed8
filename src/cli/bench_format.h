// Results of `tandem bench` as llama-bench prints them, so that existing scripts read them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "cli/device_report.h"
#include "engine/benchmark.h"

namespace tandem {

// What is the same for all tests of a run.
struct BenchContext {
  std::string build, model_filename, model_type, backend, device;
  uint64_t model_size = 0, parameter_count = 0;
  uint32_t batch = 0, micro_batch = 0, threads = 0;
  std::string_view kv;
  double read_bandwidth = 0;  // bytes per second; 0 when not measured
};

enum class BenchFormat { kMarkdown, kJson, kJsonLines, kCsv };
BenchFormat parse_bench_format(std::string_view name);  // throws kUsage

// llama-bench's fields in its order, then our own: ids, bytes_per_token, gb_per_s, bandwidth_share.
Json bench_record(const BenchContext& context, const BenchmarkResult& result, uint64_t bytes);

// One test's row.
struct BenchRow {
  const BenchmarkResult& result;
  uint64_t bytes_per_token;
  const std::vector<DeviceReport>& devices;
};

// What does not fit a column, as a line to print below the table; empty for prompt tests.
std::string bench_details(const BenchContext& context, const BenchmarkResult& result,
                          uint64_t bytes);

// Header, one row, and what follows the table. JSON's brackets and commas are part of these.
std::string bench_header(BenchFormat format, const BenchContext& context);
std::string bench_row(BenchFormat format, const BenchContext& context, const BenchRow& row,
                      bool first);
std::string bench_footer(BenchFormat format, const BenchContext& context);

}  // namespace tandem
