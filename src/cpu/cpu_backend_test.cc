// What the backend promises beyond the arithmetic of single ops, which tests/conformance checks.
// SPDX-License-Identifier: Apache-2.0
#include "cpu/cpu_backend.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <vector>

#include "base/error.h"

namespace tandem::cpu {
namespace {

using std::chrono::microseconds;
constexpr microseconds kLong = std::chrono::seconds(20);

// A model of one matrix: token t embeds to the unit vector t, and logits = x * matrix^T.
class OneMatrixModel {
 public:
  static constexpr uint32_t kSize = 32;

  OneMatrixModel(Backend& backend, const std::array<float, kSize * kSize>& matrix,
                 uint32_t max_rows)
      : memory_(1 << 20, "a test"), arena_(memory_) {
    config_.hidden = config_.vocab = kSize;
    config_.embedding_scale = 1;
    for (uint32_t i = 0; i < kSize; ++i) table_[i * kSize + i] = 1;
    batch = arena_.allocate(DType::kI32, {1, 1 + max_rows, 4});
    x_ = arena_.allocate(DType::kF32, {1, max_rows, kSize});
    logits = arena_.allocate(DType::kF32, {1, max_rows, kSize});
    ids = arena_.allocate(DType::kI32, {1, 8, max_rows});
    OpSpec spec;
    spec.config = &config_;
    spec.max_rows = spec.max_outputs = max_rows;
    spec.weights = {{DType::kF32}, 1};
    add(backend, spec, Op::kEmbed, table_, {x_});
    add(backend, spec, Op::kMatmul, matrix, {logits, x_});
    spec.weights = {};
    add(backend, spec, Op::kArgmax, {}, {ids, logits});
    std::vector<Step> steps;
    for (size_t i = 0; i < kernels_.size(); ++i) steps.push_back({kernels_[i].get(), args_[i]});
    program = backend.record(steps, batch);
  }

  void set_batch(std::vector<uint32_t> tokens) {
    const uint32_t rows = static_cast<uint32_t>(tokens.size());
    *batch.row_as<BatchHeader>(0) = {rows, rows, 0, 0};
    for (uint32_t r = 0; r < rows; ++r) *batch.row_as<BatchRow>(1 + r) = {tokens[r], r, 5, r};
  }

  TensorView batch, logits, ids;
  std::unique_ptr<Program> program;

 private:
  void add(Backend& backend, OpSpec spec, Op op, std::span<const float> weight,
           std::vector<TensorView> args) {
    spec.op = op;
    const TensorView file = view_of_bytes(reinterpret_cast<const std::byte*>(weight.data()),
                                          DType::kF32, {1, kSize, kSize});
    if (!weight.empty()) weights_.push_back(backend.load(spec, {&file, 1}));
    kernels_.push_back(backend.prepare(spec, weight.empty() ? nullptr : weights_.back().get()));
    args_.push_back(std::move(args));
  }

  LayerConfig config_;
  std::array<float, kSize * kSize> table_{};
  SharedMemory memory_;
  Arena arena_;
  TensorView x_;
  std::vector<std::unique_ptr<Weights>> weights_;
  std::vector<std::unique_ptr<Kernel>> kernels_;
  std::vector<std::vector<TensorView>> args_;
};

// Row n of the matrix is 1 at its predecessor: the argmax after token t is t + step.
std::array<float, 32 * 32> successor_matrix(uint32_t step) {
  std::array<float, 32 * 32> matrix{};
  for (uint32_t n = 0; n < 32; ++n) matrix[n * 32 + (n + 32 - step) % 32] = 1;
  return matrix;
}

TEST(CpuBackend, OneRoundWritesIdsSideBySide) {
  const auto backend = make_cpu_backend({2, ""});
  OneMatrixModel model(*backend, successor_matrix(1), 3);
  model.set_batch({4, 9, 31});
  ASSERT_EQ(backend->wait(backend->submit(*model.program, 1), kLong), Status::kDone);
  const int32_t* ids = model.ids.row_as<int32_t>(0);
  EXPECT_EQ(std::vector<int32_t>(ids, ids + 3), (std::vector<int32_t>{5, 10, 0}));
  EXPECT_EQ(model.batch.row_as<BatchRow>(1)->token, 4u);  // one round leaves the batch alone
}

TEST(CpuBackend, RoundsFeedTheirIdsBack) {
  const auto backend = make_cpu_backend({2, ""});
  OneMatrixModel model(*backend, successor_matrix(3), 2);
  model.set_batch({0, 20});
  ASSERT_EQ(backend->wait(backend->submit(*model.program, 8), kLong), Status::kDone);
  for (uint32_t round = 0; round < 8; ++round) {
    EXPECT_EQ(model.ids.row_as<int32_t>(round)[0], static_cast<int32_t>(3 * (round + 1)));
    EXPECT_EQ(model.ids.row_as<int32_t>(round)[1],
              static_cast<int32_t>((20 + 3 * (round + 1)) % 32));
  }
  EXPECT_EQ(model.batch.row_as<BatchRow>(1)->position, 13u);
}

TEST(CpuBackend, ProgramsRunInTheOrderOfSubmission) {
  const auto backend = make_cpu_backend({2, ""});
  OneMatrixModel forward(*backend, successor_matrix(1), 1);
  forward.set_batch({0});
  Ticket last{};
  // Each submit advances the same batch: more than the queue holds at once.
  for (int i = 0; i < 40; ++i) last = backend->submit(*forward.program, 2);
  ASSERT_EQ(backend->wait(last, kLong), Status::kDone);
  EXPECT_EQ(forward.batch.row_as<BatchRow>(1)->token, 80u % 32);
}

TEST(CpuBackend, NoRowsIsNoWork) {
  const auto backend = make_cpu_backend({2, ""});
  OneMatrixModel model(*backend, successor_matrix(1), 1);
  model.set_batch({});
  *model.logits.row_as<float>(0) = 7;
  ASSERT_EQ(backend->wait(backend->submit(*model.program, 1), kLong), Status::kDone);
  EXPECT_EQ(*model.logits.row_as<float>(0), 7);
}

TEST(CpuBackend, WaitRunsOut) {
  const auto backend = make_cpu_backend({1, ""});
  EXPECT_EQ(backend->wait(Ticket{1}, microseconds(1000)), Status::kTimeout);  // never submitted
  OneMatrixModel model(*backend, successor_matrix(1), 1);
  model.set_batch({0});
  EXPECT_EQ(backend->wait(backend->submit(*model.program, 1), microseconds::max()), Status::kDone);
}

TEST(CpuBackend, FusedNodesAreDeclinedWithAReason) {
  const auto backend = make_cpu_backend({1, ""});
  LayerConfig config;
  OpSpec spec;
  spec.config = &config;
  for (Op op : {Op::kQkv, Op::kAttnCore, Op::kAttnOut, Op::kFfn, Op::kHead}) {
    spec.op = op;
    const Support support = backend->supports(spec);
    EXPECT_FALSE(support.ok) << op_info(op).name;
    EXPECT_FALSE(support.reason.empty()) << op_info(op).name;
  }
}

TEST(CpuBackend, OddHeadsAreDeclinedWithAReason) {
  const auto backend = make_cpu_backend({1, ""});
  LayerConfig config;
  config.heads = 3;
  config.kv_heads = 2;
  config.head_dim = 48;
  OpSpec spec;
  spec.op = Op::kAttention;
  spec.config = &config;
  EXPECT_EQ(backend->supports(spec).reason, "head_dim 48 is not a multiple of 32");
  config.head_dim = 64;
  EXPECT_EQ(backend->supports(spec).reason, "3 heads do not share 2 KV heads");
  config.kv_heads = 1;
  EXPECT_TRUE(backend->supports(spec).ok);
}

TEST(CpuBackend, UnknownInstructionSetIsAUsageError) {
  try {
    make_cpu_backend({1, "neon"});
    FAIL() << "neon was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
  }
}

TEST(CpuBackend, EnvironmentForcesTheInstructionSet) {
  setenv("TANDEM_CPU_ISA", "scalar", 1);
  const auto backend = make_cpu_backend({1, ""});
  unsetenv("TANDEM_CPU_ISA");
  EXPECT_NE(backend->info().device.find(", scalar, 1 thread"), std::string::npos)
      << backend->info().device;
}

TEST(CpuBackend, RowsThatAreNoWholeBlocksAreAFileError) {
  const auto backend = make_cpu_backend({1, ""});
  const std::array<std::byte, 4096> bytes{};
  TensorView file = view_of_bytes(bytes.data(), DType::kQ4_0, {1, 2, 32});
  file.dims[2] = 48;
  OpSpec spec;
  spec.op = Op::kMatmul;
  spec.weights = {{DType::kQ4_0}, 1};
  try {
    backend->load(spec, {&file, 1});
    FAIL() << "48 weights were taken for blocks of 32";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidFile);
  }
}

}  // namespace
}  // namespace tandem::cpu
