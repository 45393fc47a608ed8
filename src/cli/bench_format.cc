// SPDX-License-Identifier: Apache-2.0
#include "cli/bench_format.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <vector>

#include "base/error.h"
#include "base/json_value.h"

namespace tandem {
namespace {

constexpr double kGib = 1024.0 * 1024.0 * 1024.0, kMib = 1024.0 * 1024.0;
constexpr uint32_t kMicroBatch = 512;  // llama-bench's default, which has no column

struct Column {
  std::string title;
  int width;
  bool right;
  std::string text;
};

std::string human_size(uint64_t bytes) {
  const auto size = static_cast<double>(bytes);
  return size >= kGib ? fmt::format("{:.2f} GiB", size / kGib)
                      : fmt::format("{:.2f} MiB", size / kMib);
}

std::string human_count(uint64_t count) {
  const auto n = static_cast<double>(count);
  return n >= 1e9 ? fmt::format("{:.2f} B", n / 1e9) : fmt::format("{:.2f} M", n / 1e6);
}

std::vector<Column> columns(const BenchContext& c, const BenchmarkResult* result) {
  std::string speed, test;
  if (result != nullptr) {
    const MeanDeviation ts = mean_deviation(result->samples_per_second());
    speed = fmt::format("{:.2f} ± {:.2f}", ts.mean, ts.deviation);
    test = result->test.name();
  }
  std::vector<Column> list = {{"model", 30, false, c.model_type},
                              {"size", 10, true, human_size(c.model_size)},
                              {"params", 10, true, human_count(c.parameter_count)},
                              {"backend", 10, false, c.backend},
                              {"threads", 7, true, std::to_string(c.threads)}};
  if (c.kv != "f16") {
    list.push_back({"type_k", 6, true, std::string(c.kv)});
    list.push_back({"type_v", 6, true, std::string(c.kv)});
  }
  if (c.micro_batch != kMicroBatch)
    list.push_back({"n_ubatch", 8, true, std::to_string(c.micro_batch)});
  list.push_back({"test", 15, true, test});
  list.push_back({"t/s", 20, true, speed});
  return list;
}

// Pads by characters, not bytes: the plus-minus sign takes two.
std::string cell(const std::string& text, int width, bool right) {
  return right ? fmt::format(" {:>{}} |", text, width) : fmt::format(" {:<{}} |", text, width);
}

std::string csv_field(const Json& value) {
  const std::string text = value.is_string()    ? value.get<std::string>()
                           : value.is_boolean() ? (value.get<bool>() ? "1" : "0")
                                                : to_text(value);
  std::string quoted = "\"";
  for (char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + "\"";
}

}  // namespace

BenchFormat parse_bench_format(std::string_view name) {
  constexpr std::array<std::pair<std::string_view, BenchFormat>, 4> kNames = {
      {{"md", BenchFormat::kMarkdown},
       {"json", BenchFormat::kJson},
       {"jsonl", BenchFormat::kJsonLines},
       {"csv", BenchFormat::kCsv}}};
  for (const auto& [text, format] : kNames)
    if (text == name) return format;
  throw Error(ErrorCode::kUsage,
              fmt::format("output format '{}' is none of md, json, jsonl, csv", name));
}

Json bench_record(const BenchContext& c, const BenchmarkResult& result, uint64_t bytes) {
  std::vector<double> ns(result.samples_ns.begin(), result.samples_ns.end());
  const std::vector<double> speeds = result.samples_per_second();
  const MeanDeviation time = mean_deviation(ns), speed = mean_deviation(speeds);
  // Settings that only llama-bench has stand at what describes our way of running.
  Json record = {{"build_commit", c.build},
                 {"build_number", 0},
                 {"cpu_info", c.backend == "cpu" ? c.device : ""},
                 {"gpu_info", c.backend == "cpu" ? "" : c.device},
                 {"backends", c.backend},
                 {"model_filename", c.model_filename},
                 {"model_type", c.model_type},
                 {"model_size", c.model_size},
                 {"model_n_params", c.parameter_count},
                 {"n_batch", c.batch},
                 {"n_ubatch", c.micro_batch},
                 {"n_threads", c.threads},
                 {"cpu_mask", "0x0"},
                 {"cpu_strict", false},
                 {"poll", 0},
                 {"type_k", c.kv},
                 {"type_v", c.kv},
                 {"n_gpu_layers", c.backend == "cpu" ? 0 : -1},
                 {"n_cpu_moe", 0},
                 {"split_mode", "none"},
                 {"main_gpu", 0},
                 {"no_kv_offload", false},
                 {"flash_attn", 1},
                 {"devices", c.backend},
                 {"tensor_split", "0.00"},
                 {"tensor_buft_overrides", "none"},
                 {"load_mode", "auto"},
                 {"lazy_mode", "auto"},
                 {"embeddings", false},
                 {"no_op_offload", 0},
                 {"no_host", false},
                 {"repack", true},
                 {"fit_target", 0},
                 {"fit_min_ctx", 0},
                 {"n_prompt", result.test.prompt},
                 {"n_gen", result.test.generate},
                 {"n_depth", result.test.depth},
                 {"n_parallel", result.test.parallel},
                 {"test_time", result.start_time},
                 {"avg_ns", static_cast<uint64_t>(time.mean)},
                 {"stddev_ns", static_cast<uint64_t>(time.deviation)},
                 {"avg_ts", speed.mean},
                 {"stddev_ts", speed.deviation}};
  record["samples_ns"] = result.samples_ns;
  record["samples_ts"] = speeds;
  // Of generation alone; 0 otherwise, so that every record has the same fields.
  const bool generation = result.test.generate > 0 && result.test.prompt == 0;
  // Sequences that generate together read the weights once.
  const double rate =
      generation ? static_cast<double>(bytes) * speed.mean / result.test.parallel : 0;
  record["bytes_per_token"] = generation ? bytes : 0;
  record["gb_per_s"] = rate / 1e9;
  record["read_gb_per_s"] = c.read_bandwidth / 1e9;
  record["bandwidth_share"] = c.read_bandwidth > 0 ? rate / c.read_bandwidth : 0;
  record["ids"] = result.ids;
  return record;
}

std::string bench_header(BenchFormat format, const BenchContext& context) {
  if (format == BenchFormat::kJson) return "[\n";
  if (format != BenchFormat::kMarkdown) return "";
  std::string titles = "|", rule = "|";
  for (const Column& column : columns(context, nullptr)) {
    titles += cell(column.title, column.width, column.right);
    rule += fmt::format(" {:-<{}}{} |", "", column.width - (column.right ? 1 : 0),
                        column.right ? ":" : "");
  }
  return titles + "\n" + rule + "\n";
}

std::string bench_row(BenchFormat format, const BenchContext& context, const BenchRow& row,
                      bool first) {
  Json record = bench_record(context, row.result, row.bytes_per_token);
  record["device_use"] = to_json(row.devices);
  if (format == BenchFormat::kJson) return (first ? "" : ",\n") + to_text(record, true);
  if (format == BenchFormat::kJsonLines) return to_text(record) + "\n";
  if (format == BenchFormat::kCsv) {
    std::vector<std::string> names, values;
    for (const auto& [key, value] : record.items()) {
      if (value.is_array()) continue;  // samples, ids, devices: in JSON only, as llama-bench does
      names.push_back(key);
      values.push_back(csv_field(value));
    }
    return (first ? fmt::format("{}\n", fmt::join(names, ",")) : "") +
           fmt::format("{}\n", fmt::join(values, ","));
  }
  std::string cells = "|";
  for (const Column& column : columns(context, &row.result))
    cells += cell(column.text, column.width, column.right);
  return cells + "\n";
}

std::string bench_details(const BenchContext& context, const BenchmarkResult& result,
                          uint64_t bytes) {
  if (result.test.generate == 0) return "";
  const Json record = bench_record(context, result, bytes);
  std::string text = result.test.name() + ":";
  if (result.test.prompt == 0) {
    text +=
        fmt::format(" {} bytes per token, {:.2f} GB/s,", bytes, record["gb_per_s"].get<double>());
    if (context.read_bandwidth > 0)
      text +=
          fmt::format(" {:.0f} % of the measured {:.2f} GB/s read bandwidth,",
                      100 * record["bandwidth_share"].get<double>(), context.read_bandwidth / 1e9);
  }
  return text + fmt::format(" ids {}\n", fmt::join(result.ids, " "));
}

std::string bench_footer(BenchFormat format, const BenchContext& context) {
  if (format == BenchFormat::kJson) return "\n]\n";
  if (format == BenchFormat::kMarkdown) return fmt::format("\nbuild: {} (tandem)\n", context.build);
  return "";
}

}  // namespace tandem
