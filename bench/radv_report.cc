// Compiles what a token and a prompt dispatch for a Radeon 780M, by Mesa's RADV on any machine, and
// prints registers, occupancy and a predicted time per kernel and tokens per second. Fails on a
// spill, on scratch memory, or on an occupancy below its row in radv_occupancy.txt.
// SPDX-License-Identifier: Apache-2.0
//
// Usage: RADV_FORCE_FAMILY=GFX1103_R1 VK_DRIVER_FILES=/usr/share/vulkan/icd.d/radeon_icd...json
//        radv_report TABLE
// With a Mesa from 2024 on (family phoenix) the matrix units are used too.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include "base/error.h"
#include "gguf/type_choice.h"
#include "machine_code.h"
#include "model/config.h"
#include "vulkan/context.h"
#include "vulkan/ops/matvec.h"
#include "vulkan/ops/ops.h"
#include "vulkan/weight_layout.h"

namespace tandem {
namespace {

using namespace vulkan;

// A Radeon 780M: 12 compute units of two SIMD32 at 2.7 GHz; memory as measured on DDR5-5600.
constexpr double kSimds = 24, kClock = 2.7e9, kMemory = 73e9;
constexpr double kPeakF16 = kSimds * kClock * 256;  // operations per second

constexpr uint32_t kSequences = 4;  // decoded together
constexpr uint32_t kPromptRows = 512;
constexpr uint32_t kCapacity = 2048;             // positions of the KV cache
constexpr VkDeviceAddress kAnywhere = 0x100000;  // nothing runs

struct OccupancyRow {
  std::string module;
  uint64_t least = 0;
};

struct Line {
  RecordedDispatch dispatch;
  PipelineReport report;
  double memory_us = 0, compute_us = 0;
  double us() const { return std::max(memory_us, compute_us); }
};

Matrix matrix(DType dtype, uint32_t rows, uint32_t cols) {
  return {dtype, rows, cols, static_cast<uint32_t>(packed_row_size(dtype, cols)), kAnywhere};
}

class Report {
 public:
  explicit Report(std::vector<OccupancyRow> occupancy)
      : context_("0", false, {}, true), occupancy_(std::move(occupancy)) {
    if (context_.device.info().name.find("RADV") == std::string::npos)
      throw Error(ErrorCode::kNotFound,
                  fmt::format("the first Vulkan device is {}, not RADV; set VK_DRIVER_FILES and "
                              "RADV_FORCE_FAMILY",
                              context_.device.info().name));
  }

  void print_size(const PublishedSize& size);
  bool failed() const { return failed_; }
  const std::string& device() const { return context_.device.info().name; }

 private:
  std::vector<Line> record(const LayerConfig& config, DType head, uint32_t rows);
  double print_lines(const std::vector<Line>& lines, uint32_t layers);
  void check(const Line& line);

  Context context_;
  std::vector<OccupancyRow> occupancy_;
  std::set<std::string> checked_;
  bool failed_ = false;
};

void record_attention(ProgramBuilder& builder, const LayerConfig& config, uint32_t rows) {
  OpSpec spec;
  spec.op = Op::kAttnCore;
  spec.max_rows = rows;
  spec.phase = rows == kPromptRows ? Phase::kPrefill : Phase::kDecode;
  spec.config = &config;
  TensorView cache;
  cache.dtype = DType::kF16;
  cache.dims = {config.kv_heads, kCapacity, config.head_dim};
  cache.strides = {size_t{2} * kCapacity * config.head_dim, size_t{2} * config.head_dim};
  TensorView none;
  none.dims = {0, 0, 0};
  const std::array<TensorView, 6> views = {TensorView{}, cache, cache, none, none, TensorView{}};
  const Rows out = {kAnywhere, config.q_width()}, qkv = {kAnywhere, config.qkv_width()};
  const std::array<Rows, 6> places = {out, Rows{}, Rows{}, Rows{}, Rows{}, qkv};
  const std::array<VkDeviceAddress, 6> addresses = {kAnywhere, kAnywhere, kAnywhere,
                                                    0,         0,         kAnywhere};
  record_attention_core(builder, Node{spec, nullptr, places, views, addresses});
}

// One layer, then the head: for one row of a prompt, for all rows of fewer.
std::vector<Line> Report::record(const LayerConfig& config, DType head, uint32_t rows) {
  Recorder recorder;
  ProgramBuilder builder(context_, recorder, kAnywhere, 0);
  const Rows x = {kAnywhere, config.hidden};
  MatvecInput normed;
  normed.x = normed.sum = x;
  normed.max_rows = rows;
  normed.norm = kAnywhere;
  normed.add = PendingAdd{kAnywhere, kAnywhere, config.norm_epsilon};
  MatvecInput plain;
  plain.max_rows = rows;
  const auto q4 = [](uint32_t n, uint32_t k) { return matrix(DType::kQ4_0, n, k); };
  const std::array qkv = {q4(config.q_width(), config.hidden), q4(config.kv_width(), config.hidden),
                          q4(config.kv_width(), config.hidden)};
  matvec(builder, "qkv", normed, qkv, {kAnywhere, config.qkv_width()});
  record_attention(builder, config, rows);
  plain.x = {kAnywhere, config.q_width()};
  const std::array out = {q4(config.hidden, config.q_width())};
  matvec(builder, "out", plain, out, x);
  const std::array gate_up = {q4(config.ffn, config.hidden), q4(config.ffn, config.hidden)};
  plain.gated = rows >= kMatmulMinRows;
  plain.x = {kAnywhere, plain.gated ? 2 * config.ffn : config.ffn};
  if (plain.gated)
    matvec(builder, "gate_up", normed, gate_up, plain.x);
  else
    matvec_geglu(builder, normed, gate_up, plain.x);
  const std::array down = {q4(config.hidden, config.ffn)};
  matvec(builder, "down", plain, down, x);
  normed.max_rows = rows == kPromptRows ? 1 : rows;
  const std::array table = {matrix(head, config.vocab, config.hidden)};
  matvec(builder, "head", normed, table, {kAnywhere, config.vocab});
  recorder.finish();

  std::vector<Line> lines;
  for (const RecordedDispatch& dispatch : recorder.dispatches()) {
    Line line{dispatch, report_of(context_.device, *dispatch.pipeline)};
    line.memory_us = 1e6 * static_cast<double>(dispatch.cost.bytes) / kMemory;
    // Many rows cost by their operations, all else by the bytes the loop reads.
    const bool product =
        rows > 1 && dispatch.cost.operations > 0 && line.report.multiplying.operations > 0;
    const CodeCost& cost = product ? line.report.multiplying : line.report.loading;
    const double work =
        static_cast<double>(product ? dispatch.cost.operations : dispatch.cost.bytes);
    const double per_pass = 32 * (product ? cost.operations : cost.bytes);
    if (per_pass > 0) line.compute_us = 1e6 * work / per_pass * cost.cycles / (kSimds * kClock);
    lines.push_back(std::move(line));
  }
  return lines;
}

void Report::check(const Line& line) {
  const std::string& name = line.dispatch.pipeline->name;
  if (!checked_.insert(name).second) return;
  auto value = [&](const char* key) {
    const auto it = line.report.statistics.find(key);
    return it == line.report.statistics.end() ? uint64_t{0} : it->second;
  };
  const std::string module = name.substr(0, name.find(' '));
  const auto row = std::find_if(occupancy_.begin(), occupancy_.end(),
                                [&](const OccupancyRow& r) { return r.module == module; });
  std::string why;
  if (value("Spilled VGPRs") + value("Spilled SGPRs") > 0)
    why = fmt::format("spills {} vector and {} scalar registers", value("Spilled VGPRs"),
                      value("Spilled SGPRs"));
  else if (value("Scratch size") > 0)
    why = "keeps arrays in scratch memory";
  else if (row == occupancy_.end())
    why = "has no row in the occupancy table";
  else if (value("Subgroups per SIMD") < row->least)
    why =
        fmt::format("has {} subgroups per SIMD, below {}", value("Subgroups per SIMD"), row->least);
  if (why.empty()) return;
  fmt::print("FAIL {} {}\n", name, why);
  failed_ = true;
}

double Report::print_lines(const std::vector<Line>& lines, uint32_t layers) {
  fmt::print("{:>9} {:<18} {:>5} {:>6} {:>4} {:>6} {:>9} {:>9} {:>9} {:>9}\n", "kernel", "module",
             "VGPRs", "LDS", "occ", "instr", "MB", "memory us", "compute", "predicted");
  double layer_us = 0, head_us = 0;
  for (const Line& line : lines) {
    auto statistics = line.report.statistics;
    const std::string& name = line.dispatch.pipeline->name;
    fmt::print("{:>9} {:<18} {:>5} {:>6} {:>4} {:>6} {:>9.2f} {:>9.1f} {:>9.1f} {:>9.1f}\n",
               line.dispatch.cost.label, name.substr(0, name.find(' ')), statistics["VGPRs"],
               statistics["LDS size"], statistics["Subgroups per SIMD"], statistics["Instructions"],
               static_cast<double>(line.dispatch.cost.bytes) / 1e6, line.memory_us, line.compute_us,
               line.us());
    (line.dispatch.cost.label == "head" ? head_us : layer_us) += line.us();
    check(line);
  }
  return layer_us * layers + head_us;
}

void Report::print_size(const PublishedSize& size) {
  const LayerConfig config = layer_of(size);
  const DType head =
      choose_type(DType::kQ4_0, "token_embd.weight", size.shape.layers, config.hidden);
  fmt::print("\n{} decode, one layer and the head\n", size.name);
  const std::vector<Line> decode = record(config, head, 1);
  const double token_us = print_lines(decode, size.shape.layers);
  double bytes = 0;
  for (const Line& line : decode)
    bytes += static_cast<double>(line.dispatch.cost.bytes) *
             (line.dispatch.cost.label == "head" ? 1 : size.shape.layers);
  fmt::print("predicted {:.1f} tokens/s, {:.0f} % of the bandwidth's {:.1f}\n", 1e6 / token_us,
             100 * bytes / kMemory / token_us * 1e6, kMemory / bytes);
  fmt::print("\n{} decode of {} sequences together\n", size.name, kSequences);
  const double together_us = print_lines(record(config, head, kSequences), size.shape.layers);
  fmt::print("predicted {:.1f} tokens/s\n", 1e6 * kSequences / together_us);
  fmt::print("\n{} prompt of {} rows\n", size.name, kPromptRows);
  const std::vector<Line> prompt = record(config, head, kPromptRows);
  const double prompt_us = print_lines(prompt, size.shape.layers);
  double operations = 0, product_us = 0;
  for (const Line& line : prompt)
    if (line.dispatch.pipeline->name.starts_with("matmul")) {
      operations += static_cast<double>(line.dispatch.cost.operations);
      product_us += line.us();
    }
  fmt::print("predicted {:.0f} tokens/s; products at {:.0f} % of the f16 peak\n",
             1e6 * kPromptRows / prompt_us, 100 * operations / product_us * 1e6 / kPeakF16);
}

std::vector<OccupancyRow> read_table(const char* path) {
  std::ifstream file(path);
  if (!file) throw Error(ErrorCode::kNotFound, fmt::format("{} cannot be opened", path));
  std::vector<OccupancyRow> rows;
  for (std::string line; std::getline(file, line);) {
    OccupancyRow row;
    std::istringstream fields(line.substr(0, line.find('#')));
    if (fields >> row.module >> row.least) rows.push_back(row);
  }
  return rows;
}

[[noreturn]] void run(int argc, char** argv) {
  if (argc != 2) throw Error(ErrorCode::kUsage, "usage: radv_report OCCUPANCY_TABLE");
  // Never destroyed: RADV crashes when a device without a chip is.
  Report& report = *new Report(read_table(argv[1]));
  fmt::print("{}; all times are predicted, for a Radeon 780M at {:.1f} GHz and {:.0f} GB/s\n",
             report.device(), kClock / 1e9, kMemory / 1e9);
  for (const char* name : {"1b", "4b", "12b", "27b"}) report.print_size(*find_published_size(name));
  std::fflush(stdout);
  std::_Exit(report.failed() ? 1 : 0);
}

}  // namespace
}  // namespace tandem

int main(int argc, char** argv) {
  try {
    tandem::run(argc, argv);
  } catch (const tandem::Error& error) {
    std::fprintf(stderr, "radv_report: %s\n", error.what());
    return tandem::exit_code(error.code());
  }
}
