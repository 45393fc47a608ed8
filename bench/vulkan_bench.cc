// Times a decode step, or a prompt's chunk, of a Gemma 3 size on a Vulkan device, kernel by kernel:
// microseconds, GB/s, TFLOP/s and the share of what a plain read of device memory reaches. Weights
// are random and distinct for every layer.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstring>
#include <deque>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "gguf/type_choice.h"
#include "model/config.h"
#include "vulkan/vulkan_backend.h"

namespace tandem {
namespace {

constexpr uint32_t kRuns = 20, kRounds = 8;
// A GPU takes a tenth of a second or two to raise its clock.
constexpr double kWarmUpMicroseconds = 3e5;

struct Options {
  VulkanOptions vulkan;
  const PublishedSize* size = nullptr;
  uint32_t layers = 0;  // the size's
  uint32_t position = 32;
  uint32_t rows = 1;       // more than sequences: a chunk of a prompt
  uint32_t sequences = 1;  // decoded together

  bool is_prompt() const { return rows > sequences; }
  uint32_t outputs() const { return is_prompt() ? 1 : sequences; }
  bool kernels = true;  // print their table, and measure the ceiling
};

// What the options mean is known once they are parsed.
struct CommandLine {
  CommandLine() {
    app.add_option("--device", options.vulkan.device, "number or part of a name");
    app.add_option("--size", size, "published size, such as 4b")->capture_default_str();
    app.add_option("--layers", options.layers, "layers (0: the size's)");
    app.add_option("--position", options.position, "tokens before the step")->capture_default_str();
    app.add_option("--rows", options.rows, "rows of the step; more than one: a prompt's chunk")
        ->capture_default_str();
    app.add_option("--sequences", options.sequences, "sequences that decode together")
        ->capture_default_str();
    app.add_option("--tuning", options.vulkan.tuning,
                   "changes to the device's row: chained=0,matvec_workgroup=512");
    app.add_option("--kernels", options.kernels, "print a table of kernels and measure the ceiling")
        ->capture_default_str();
  }

  Options parsed() const {
    Options result = options;
    result.size = find_published_size(size);
    if (result.size == nullptr)
      throw Error(ErrorCode::kUsage,
                  fmt::format("no size '{}'; choose 270m, 1b, 4b, 12b or 27b", size));
    if (result.layers == 0) result.layers = result.size->shape.layers;
    if (result.rows > 1 && result.sequences > 1)
      throw Error(ErrorCode::kUsage,
                  "a prompt's chunk is of one sequence; give --rows or --sequences");
    result.rows = std::max(result.rows, result.sequences);
    return result;
  }

  CLI::App app{"Times a decode step, or a prompt's chunk, on a Vulkan device.", "vulkan_bench"};
  Options options;
  std::string size = "27b";
};

// A model of random weights and the sequences' buffers, with its recorded step.
class Bench {
 public:
  Bench(const Options& options, bool profile);
  // Microseconds a token, of `rounds` tokens a submission, by the wall clock.
  double run(uint32_t rounds);
  VulkanProgramReport report() const { return vulkan_program_report(*backend_, *program_); }
  Backend& backend() { return *backend_; }

 private:
  TensorView weight(DType dtype, uint32_t rows, uint32_t cols);
  void add(Op op, const std::vector<TensorView>& weights, std::vector<TensorView> args);
  void add_layer();

  Options options_;
  LayerConfig config_;
  std::vector<std::byte> bytes_;
  std::unique_ptr<Backend> backend_;
  std::deque<SharedMemory> memories_;
  TensorView batch_, x_, qkv_, attended_, logits_, ids_;
  std::deque<std::vector<TensorView>> args_;
  std::vector<Step> steps_;
  std::vector<std::unique_ptr<Weights>> weights_;
  std::vector<std::unique_ptr<Kernel>> kernels_;
  std::unique_ptr<Program> program_;
};

Bench::Bench(const Options& options, bool profile) : options_(options) {
  config_ = layer_of(*options.size);
  config_.window = 0;  // every layer attends to all positions
  const DType head =
      choose_type(DType::kQ4_0, "token_embd.weight", options.size->shape.layers, config_.hidden);
  options_.vulkan.profile = profile;
  backend_ = make_vulkan_backend(options_.vulkan);

  // Small scales everywhere, so that nothing overflows whatever the other bytes are.
  bytes_.resize(dtype_size(head, config_.hidden) * config_.vocab);
  std::mt19937 random(1);
  for (size_t i = 0; i + 4 <= bytes_.size(); i += 4) {
    const uint32_t word = static_cast<uint32_t>(random()) & 0x1fff1fffu;
    std::memcpy(&bytes_[i], &word, 4);
  }
  SharedMemory& memory = memories_.emplace_back((size_t{64} + options_.rows) << 20, "activations");
  Arena arena(memory);
  batch_ = arena.allocate(DType::kI32, {1, 1 + options_.rows, 4});
  x_ = arena.allocate(DType::kF32, {1, options_.rows, config_.hidden});
  qkv_ = arena.allocate(DType::kF32, {1, options_.rows, config_.qkv_width()});
  attended_ = arena.allocate(DType::kF32, {1, options_.rows, config_.q_width()});
  logits_ = arena.allocate(DType::kF32, {1, options_.outputs(), config_.vocab});
  ids_ = arena.allocate(DType::kI32, {1, kRounds, options_.outputs()});

  const TensorView table = weight(head, config_.vocab, config_.hidden);
  add(Op::kEmbed, {table}, {x_});
  for (uint32_t i = 0; i < options_.layers; ++i) add_layer();
  add(Op::kHead, {weight(DType::kF32, 1, config_.hidden), table}, {logits_, x_});
  add(Op::kArgmax, {}, {ids_, logits_});
  program_ = backend_->record(steps_, batch_);
}

TensorView Bench::weight(DType dtype, uint32_t rows, uint32_t cols) {
  return view_of_bytes(bytes_.data(), dtype, {1, rows, cols});
}

void Bench::add(Op op, const std::vector<TensorView>& weights, std::vector<TensorView> args) {
  OpSpec spec;
  spec.op = op;
  spec.phase = options_.is_prompt() ? Phase::kPrefill : Phase::kDecode;
  spec.max_rows = options_.rows;
  spec.max_outputs = options_.outputs();
  spec.max_sequences = options_.sequences;
  spec.config = &config_;
  for (const TensorView& view : weights) spec.weights.types[spec.weights.count++] = view.dtype;
  const Support support = backend_->supports(spec);
  if (!support.ok) throw Error(ErrorCode::kUnsupported, support.reason);
  if (!weights.empty()) weights_.push_back(backend_->load(spec, weights));
  kernels_.push_back(backend_->prepare(spec, weights.empty() ? nullptr : weights_.back().get()));
  args_.push_back(std::move(args));
  steps_.push_back({kernels_.back().get(), args_.back()});
}

void Bench::add_layer() {
  const LayerConfig& c = config_;
  const uint32_t capacity = options_.position + options_.rows + 512;
  const TensorView norm = weight(DType::kF32, 1, c.hidden);
  const TensorView head_norm = weight(DType::kF32, 1, c.head_dim);
  const auto q4 = [&](uint32_t rows, uint32_t cols) { return weight(DType::kQ4_0, rows, cols); };
  const std::array<uint32_t, 3> dims = {c.kv_heads * options_.sequences, capacity, c.head_dim};
  Arena arena(memories_.emplace_back(2 * Arena::size_of(DType::kF16, dims), "the KV cache"));
  const TensorView k = arena.allocate(DType::kF16, dims), v = arena.allocate(DType::kF16, dims);
  const TensorView none{nullptr, 0, DType::kF16, {0, 0, 0}, {0, 0}};
  add(Op::kQkv,
      {norm, q4(c.q_width(), c.hidden), q4(c.kv_width(), c.hidden), q4(c.kv_width(), c.hidden)},
      {qkv_, x_});
  add(Op::kAttnCore, {head_norm, head_norm}, {attended_, k, v, none, none, qkv_});
  add(Op::kAttnOut, {q4(c.hidden, c.q_width()), norm}, {x_, attended_});
  add(Op::kFfn, {norm, q4(c.ffn, c.hidden), q4(c.ffn, c.hidden), q4(c.hidden, c.ffn), norm}, {x_});
}

double Bench::run(uint32_t rounds) {
  const bool prompt = options_.is_prompt();
  *batch_.row_as<BatchHeader>(0) = {options_.rows, options_.outputs(), 0, 0};
  for (uint32_t i = 0; i < options_.rows; ++i)
    *batch_.row_as<BatchRow>(1 + i) = {7 + i, prompt ? 0 : i, options_.position + (prompt ? i : 0),
                                       prompt ? options_.rows - 1 : i};
  Import& import = memories_.front().import_for(*backend_);
  const auto start = std::chrono::steady_clock::now();
  import.acquire(Access::kRead, batch_.offset, batch_.size());
  if (backend_->wait(backend_->submit(*program_, rounds), std::chrono::minutes(2)) != Status::kDone)
    throw Error(ErrorCode::kDeviceLost, backend_->failure());
  import.release(Access::kWrite, ids_.offset, ids_.size());
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start)
             .count() /
         rounds;
}

void warm_up(Bench& bench, uint32_t rounds) {
  for (double spent = 0; spent < kWarmUpMicroseconds;) spent += rounds * bench.run(rounds);
}

double median_of(Bench& bench, uint32_t rounds) {
  warm_up(bench, rounds);
  std::vector<double> times;
  for (uint32_t i = 0; i < kRuns; ++i) times.push_back(bench.run(rounds));
  std::nth_element(times.begin(), times.begin() + kRuns / 2, times.end());
  return times[kRuns / 2];
}

void print_kernels(const VulkanProgramReport& report, double ceiling) {
  struct Sum {
    uint32_t count = 0;
    double microseconds = 0;
    uint64_t bytes = 0, operations = 0;
  };
  std::map<std::string, Sum> sums;
  for (const VulkanDispatch& dispatch : report.timeline) {
    Sum& sum = sums[dispatch.label];
    ++sum.count;
    sum.microseconds += dispatch.microseconds;
    sum.bytes += dispatch.bytes;
    sum.operations += dispatch.operations;
  }
  fmt::print("{:<10} {:>6} {:>10} {:>10} {:>8} {:>7} {:>8}\n", "kernel", "count", "us each", "us",
             "GB/s", "share", "TFLOP/s");
  for (const auto& [label, sum] : sums) {
    const double rate = static_cast<double>(sum.bytes) / (sum.microseconds * 1e3);
    fmt::print("{:<10} {:>6} {:>10.2f} {:>10.1f} {:>8.0f} {:>6.1f}% {:>8.2f}\n", label, sum.count,
               sum.microseconds / sum.count, sum.microseconds, rate, 1e11 * rate / ceiling,
               static_cast<double>(sum.operations) / (sum.microseconds * 1e6));
  }
}

// The table of kernels; the ceiling.
double run_kernels(const Options& options) {
  Bench bench(options, true);
  const double ceiling = bench.backend().measure_read_bandwidth();
  fmt::print("{}, {} with {} layers, position {}\nplain read: {:.0f} GB/s\n",
             bench.backend().info().device, options.size->name, options.layers, options.position,
             ceiling * 1e-9);
  warm_up(bench, 1);
  print_kernels(bench.report(), ceiling);
  return ceiling;
}

void run(const Options& options) {
  const double ceiling = options.kernels ? run_kernels(options) : 0;
  Bench bench(options, false);
  const VulkanProgramReport report = bench.report();
  uint64_t bytes = 0;
  for (const VulkanDispatch& dispatch : report.timeline) bytes += dispatch.bytes;
  fmt::print("a step: {} dispatches, {} barriers, {} command buffers, {:.1f} MB\n",
             report.dispatches, report.barriers, report.command_buffers,
             static_cast<double>(bytes) * 1e-6);
  for (const uint32_t rounds : {1u, kRounds}) {
    if (rounds > 1 && options.is_prompt()) break;
    const double microseconds = median_of(bench, rounds);
    const double rate = static_cast<double>(bytes) / (microseconds * 1e-6);
    fmt::print("{} a submit: {:.1f} us, {:.1f} tok/s, {:.0f} GB/s", rounds, microseconds,
               1e6 * options.rows / microseconds, rate * 1e-9);
    if (ceiling > 0) fmt::print(", {:.1f} % of the plain read", 100 * rate / ceiling);
    fmt::print("\n");
  }
}

}  // namespace
}  // namespace tandem

int main(int argc, char** argv) {
  tandem::CommandLine command_line;
  CLI11_PARSE(command_line.app, argc, argv);
  try {
    tandem::run(command_line.parsed());
  } catch (const tandem::Error& error) {
    fmt::print(stderr, "vulkan_bench: {}\n", error.what());
    return tandem::exit_code(error.code());
  }
}
