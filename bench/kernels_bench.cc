// CPU kernels at the shapes of Gemma 3, one op at a time, with all threads. Matrices are larger
// than the caches, so decode figures are of memory. Run with --benchmark_filter=REGEX.
// Counters: GB/s of weights read, its share of the machine's read bandwidth, multiply-adds per s.
// SPDX-License-Identifier: Apache-2.0
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <cstring>
#include <random>
#include <vector>

#include "cpu/bandwidth.h"
#include "cpu/cpu_backend.h"

namespace tandem {
namespace {

constexpr size_t kBeyondCaches = size_t{256} << 20;

struct Shape {
  const char* name;
  uint32_t outputs, inputs;
};
constexpr Shape kShapes[] = {
    {"1b_qkv", 1536, 1152},    {"1b_gate_up", 13824, 1152}, {"1b_down", 1152, 6912},
    {"1b_head", 262144, 1152}, {"4b_gate_up", 20480, 2560}, {"4b_down", 2560, 10240},
};

Backend& backend() {
  static const std::unique_ptr<Backend> instance = cpu::make_cpu_backend({});
  return *instance;
}

double read_bandwidth() {
  static const double value = cpu::measure_read_bandwidth(0);
  return value;
}

// A program of one op, repeated over as many copies of its weights as exceed the caches.
class Bench {
 public:
  Bench(uint32_t rows, size_t arena_size) : memory_(arena_size, "a benchmark"), arena_(memory_) {
    spec.config = &config;
    spec.max_rows = rows;
    batch_ = arena_.allocate(DType::kI32, {1, 1 + rows, 4});
    *batch_.row_as<BatchHeader>(0) = {rows, 0, 0, 0};
  }

  TensorView allocate(DType dtype, std::array<uint32_t, 3> dims) {
    const TensorView view = arena_.allocate(dtype, dims);
    std::mt19937 random(1);
    std::uniform_real_distribution<float> values(-1, 1);
    if (dtype == DType::kF32)
      for (size_t i = 0; i < view.element_count(); ++i)
        reinterpret_cast<float*>(view.row(0, 0))[i] = values(random);
    return view;
  }

  void set_positions(uint32_t first) {
    for (uint32_t r = 0; r < spec.max_rows; ++r)
      *batch_.row_as<BatchRow>(1 + r) = {0, 0, first + r, r};
  }

  // `bytes` are those of one run of the op's weights; `work` its multiply-adds.
  void run(benchmark::State& state, std::span<const TensorView> file,
           std::span<const TensorView> args, double bytes, double work) {
    const size_t copies = bytes == 0 ? 1 : 1 + kBeyondCaches / static_cast<size_t>(bytes);
    std::vector<std::unique_ptr<Weights>> weights;
    std::vector<std::unique_ptr<Kernel>> kernels;
    std::vector<Step> steps;
    for (size_t i = 0; i < copies; ++i) {
      if (!file.empty()) weights.push_back(backend().load(spec, file));
      kernels.push_back(backend().prepare(spec, file.empty() ? nullptr : weights.back().get()));
      steps.push_back({kernels.back().get(), args});
    }
    const auto program = backend().record(steps, batch_);
    for (auto _ : state) backend().wait(backend().submit(*program, 1), std::chrono::minutes(1));
    const double runs = static_cast<double>(state.iterations()) * static_cast<double>(copies);
    using benchmark::Counter;
    state.counters["us_per_op"] = Counter(runs * 1e-6, Counter::kIsRate | Counter::kInvert);
    state.counters["MAC/s"] = Counter(runs * work, Counter::kIsRate);
    if (bytes == 0) return;
    state.counters["GB/s"] = Counter(runs * bytes * 1e-9, Counter::kIsRate);
    state.counters["share"] = Counter(runs * bytes * 1e-9 / read_bandwidth(), Counter::kIsRate);
  }

  LayerConfig config;
  OpSpec spec;

 private:
  SharedMemory memory_;
  Arena arena_;
  TensorView batch_;
};

// Random levels under scales of about 1/100, in any type.
std::vector<std::byte> random_weights(DType dtype, size_t count) {
  std::vector<std::byte> bytes(dtype_size(dtype, count));
  std::mt19937 random(2);
  for (size_t i = 0; i + 4 <= bytes.size(); i += 4) {
    const uint32_t word = static_cast<uint32_t>(random());
    std::memcpy(bytes.data() + i, &word, 4);
  }
  // No exponent of all ones, in f16, bf16 or f32, whatever bytes hold one.
  for (std::byte& b : bytes) b &= std::byte{0xBB};
  return bytes;
}

void bench_matmul(benchmark::State& state, Shape shape, DType dtype, uint32_t rows) {
  Bench bench(rows, (size_t{rows} * (shape.outputs + shape.inputs) + 4096) * 4 + (1 << 16));
  bench.spec.op = Op::kMatmul;
  bench.spec.weights = {{dtype}, 1};
  const std::vector<std::byte> bytes = random_weights(dtype, size_t{shape.outputs} * shape.inputs);
  const TensorView file = view_of_bytes(bytes.data(), dtype, {1, shape.outputs, shape.inputs});
  const TensorView args[] = {bench.allocate(DType::kF32, {1, rows, shape.outputs}),
                             bench.allocate(DType::kF32, {1, rows, shape.inputs})};
  bench.run(state, {&file, 1}, args, static_cast<double>(bytes.size()),
            static_cast<double>(rows) * shape.outputs * shape.inputs);
}

void bench_attention(benchmark::State& state, uint32_t heads, uint32_t kv_heads, uint32_t rows,
                     uint32_t context) {
  constexpr uint32_t kHeadDim = 256;
  Bench bench(rows, (size_t{rows} * (2 * heads + 2 * kv_heads) * kHeadDim +
                     size_t{2} * kv_heads * context * kHeadDim) *
                            4 +
                        (1 << 20));
  bench.config.heads = heads;
  bench.config.kv_heads = kv_heads;
  bench.config.head_dim = kHeadDim;
  bench.config.attention_scale = 1.0f / 16;
  bench.spec.op = Op::kAttention;
  bench.set_positions(context - rows);
  const TensorView none{nullptr, 0, DType::kF16, {0, 0, 0}, {0, 0}};
  const TensorView args[] = {bench.allocate(DType::kF32, {1, rows, bench.config.q_width()}),
                             bench.allocate(DType::kF16, {kv_heads, context, kHeadDim}),
                             bench.allocate(DType::kF16, {kv_heads, context, kHeadDim}),
                             none,
                             none,
                             bench.allocate(DType::kF32, {1, rows, bench.config.qkv_width()})};
  const double pairs = static_cast<double>(rows) * (context - (rows - 1) / 2.0) * heads;
  bench.run(state, {}, args, 0, pairs * 2 * kHeadDim);
}

void bench_row_op(benchmark::State& state, Op op, uint32_t rows, uint32_t width) {
  Bench bench(rows, size_t{rows} * width * 12 + (1 << 20));
  bench.spec.op = op;
  bench.config.norm_epsilon = 1e-6f;
  const TensorView norm = bench.allocate(DType::kF32, {1, 1, width});
  if (op != Op::kGeglu) bench.spec.weights = {{DType::kF32}, 1};
  const TensorView args[] = {
      bench.allocate(DType::kF32, {1, rows, width}),
      bench.allocate(DType::kF32, {1, rows, op == Op::kGeglu ? 2 * width : width})};
  bench.run(state, {&norm, op == Op::kGeglu ? 0u : 1u}, args, 0, 0);
}

void register_all() {
  const auto add = [](const std::string& name, auto function) {
    benchmark::RegisterBenchmark(name.c_str(), function)
        ->UseRealTime()
        ->Unit(benchmark::kMicrosecond)
        ->MinTime(0.3);
  };
  for (const DType dtype :
       {DType::kQ4_0, DType::kQ8_0, DType::kQ4K, DType::kQ6K, DType::kQ4_1, DType::kQ5_0,
        DType::kQ5_1, DType::kQ5K, DType::kF16, DType::kBF16, DType::kF32})
    for (const Shape& shape : kShapes)
      for (const uint32_t rows : {1u, 512u}) {
        if (rows > 1 && shape.outputs == 262144) continue;  // the head runs for one row
        add(fmt::format("matmul/{}/{}/m{}", dtype_name(dtype), shape.name, rows),
            [=](benchmark::State& s) { bench_matmul(s, shape, dtype, rows); });
      }
  for (const uint32_t context : {512u, 4096u}) {
    add(fmt::format("attention/1b/m1_c{}", context),
        [=](benchmark::State& s) { bench_attention(s, 4, 1, 1, context); });
    add(fmt::format("attention/4b/m1_c{}", context),
        [=](benchmark::State& s) { bench_attention(s, 8, 4, 1, context); });
    add(fmt::format("attention/1b/m512_c{}", context),
        [=](benchmark::State& s) { bench_attention(s, 4, 1, 512, context); });
  }
  for (const uint32_t rows : {1u, 512u}) {
    add(fmt::format("rms_norm/m{}_n1152", rows),
        [=](benchmark::State& s) { bench_row_op(s, Op::kRmsNorm, rows, 1152); });
    add(fmt::format("geglu/m{}_n6912", rows),
        [=](benchmark::State& s) { bench_row_op(s, Op::kGeglu, rows, 6912); });
  }
}

}  // namespace
}  // namespace tandem

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  tandem::register_all();
  benchmark::AddCustomContext("device", tandem::backend().info().device);
  benchmark::AddCustomContext("read_bandwidth",
                              fmt::format("{:.1f} GB/s", tandem::read_bandwidth()));
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
