// The backend on the emulated array against projections computed in double, with a bound derived
// from the two roundings that the array's number formats make.
// SPDX-License-Identifier: Apache-2.0
#include "npu/npu_backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "base/error.h"
#include "npu/attention_layer.h"
#include "tensor/quantize.h"
#include "tensor/shared_memory.h"

namespace tandem::npu {
namespace {

using ::testing::HasSubstr;
using Matrix = std::vector<float>;  // row-major

constexpr std::chrono::seconds kTimeout{60};

LayerConfig small_layer() { return attention_layer(96, 4, 2, 32); }

OpSpec spec_of(Op op, Phase phase, uint32_t rows, const LayerConfig& layer) {
  OpSpec spec;
  spec.op = op;
  spec.phase = phase;
  spec.max_rows = rows;
  spec.config = &layer;
  if (op == Op::kQkv)
    spec.weights = {{DType::kF32, DType::kQ4_0, DType::kQ4_0, DType::kQ4_0}, 4};
  else
    spec.weights = {{DType::kQ4_0, DType::kF32}, 2};
  return spec;
}

// A layer's projection with random weights, its inputs, and what it should compute.
class Projection {
 public:
  Projection(Op op, Phase phase, uint32_t rows, const LayerConfig& layer)
      : spec_(spec_of(op, phase, rows, layer)),
        rows_(rows),
        inputs_(op == Op::kQkv ? layer.hidden : layer.q_width()),
        outputs_(op == Op::kQkv ? layer.qkv_width() : layer.hidden),
        memory_(size_t{1} << 20, "test"),
        arena_(memory_) {
    batch_ = arena_.allocate(DType::kI32, {1, 1 + rows, 4});
    *batch_.row_as<BatchHeader>(0) = {rows, 0, 0, 0};
    source_ = random_view(rows, inputs_);
    target_ = random_view(rows, outputs_);
    before_ = values(target_);
    norm_ = random_view(1, layer.hidden);
    if (op == Op::kQkv) {
      file_ = {norm_, random_weights(layer.q_width()), random_weights(layer.kv_width()),
               random_weights(layer.kv_width())};
    } else {
      file_ = {random_weights(outputs_), norm_};
    }
  }

  Status run(Backend& backend) {
    EXPECT_TRUE(backend.supports(spec_).ok) << backend.supports(spec_).reason;
    const auto weights = backend.load(spec_, file_);
    const auto kernel = backend.prepare(spec_, weights.get());
    const TensorView args[] = {target_, source_};
    const Step steps[] = {{kernel.get(), args}};
    const auto program = backend.record(steps, batch_);
    return backend.wait(backend.submit(*program, 1), kTimeout);
  }

  // |got - want| <= slack times the bound, for every output of the product. On kAttnOut the
  // product is not visible; expect_residual() looks at what is.
  void expect_product(ScaleMode scales) const {
    const Matrix got = values(target_);
    for (uint32_t row = 0; row < rows_; ++row) {
      const Matrix x = normed_source(row);
      for (uint32_t n = 0; n < outputs_; ++n) {
        const auto [want, bound] = product(x, n, scales);
        ASSERT_NEAR(got[size_t{row} * outputs_ + n], want, bound) << "row " << row << " of " << n;
      }
    }
  }

  void expect_residual(double tolerance) const {
    const Matrix got = values(target_);
    double error = 0, magnitude = 0;
    for (uint32_t row = 0; row < rows_; ++row) {
      const Matrix x = source_row(row);
      std::vector<double> sums;
      double squares = 0;
      for (uint32_t n = 0; n < outputs_; ++n) {
        sums.push_back(product(x, n, ScaleMode::kExact).first);
        squares += sums.back() * sums.back();
      }
      const double scale = 1 / std::sqrt(squares / outputs_ + spec_.config->norm_epsilon);
      for (uint32_t n = 0; n < outputs_; ++n) {
        const double added = sums[n] * scale * norm_.row_as<float>(0)[n];
        const size_t i = size_t{row} * outputs_ + n;
        error += std::pow(got[i] - (before_[i] + added), 2);
        magnitude += added * added;
      }
    }
    EXPECT_LT(std::sqrt(error / magnitude), tolerance);
  }

  Matrix target() const { return values(target_); }
  const Matrix& before() const { return before_; }
  const OpSpec& spec() const { return spec_; }

 private:
  TensorView random_view(uint32_t rows, uint32_t cols) {
    std::normal_distribution<float> normal;
    const TensorView view = arena_.allocate(DType::kF32, {1, rows, cols});
    for (uint32_t row = 0; row < rows; ++row)
      for (uint32_t i = 0; i < cols; ++i) view.row_as<float>(row)[i] = normal(random_);
    return view;
  }

  TensorView random_weights(uint32_t rows) {
    const TensorView view = arena_.allocate(DType::kQ4_0, {1, rows, inputs_});
    std::normal_distribution<float> normal;
    Matrix values(inputs_);
    for (uint32_t row = 0; row < rows; ++row) {
      for (float& value : values) value = normal(random_);
      quantize_row(DType::kQ4_0, values.data(), view.row(0, row), inputs_);
      dequantize_row(DType::kQ4_0, view.row(0, row), values.data(), inputs_);
      weights_.insert(weights_.end(), values.begin(), values.end());
    }
    return view;
  }

  static Matrix values(const TensorView& view) {
    Matrix all;
    for (uint32_t row = 0; row < view.rows(); ++row)
      all.insert(all.end(), view.row_as<float>(row), view.row_as<float>(row) + view.cols());
    return all;
  }

  Matrix source_row(uint32_t row) const {
    return {source_.row_as<float>(row), source_.row_as<float>(row) + inputs_};
  }
  Matrix normed_source(uint32_t row) const {
    Matrix x = source_row(row);
    double squares = 0;
    for (const float value : x) squares += double{value} * value;
    const double scale = 1 / std::sqrt(squares / inputs_ + spec_.config->norm_epsilon);
    for (uint32_t i = 0; i < inputs_; ++i)
      x[i] = static_cast<float>(x[i] * scale * norm_.row_as<float>(0)[i]);
    return x;
  }

  // Sum and bound of one output. An int8 activation is off by half a step of its group, and with
  // integer scales by as much again of the row's largest. A weight's integer scale is off by half
  // a step of 1/127 of the row's largest scale, which Q4_0 makes 1/8 of its largest weight.
  std::pair<double, double> product(const Matrix& x, uint32_t n, ScaleMode scales) const {
    const float* w = weights_.data() + size_t{n} * inputs_;
    double largest_x = 0, largest_w = 0, sum = 0, bound = 0;
    for (uint32_t k = 0; k < inputs_; ++k) {
      largest_x = std::max<double>(largest_x, std::abs(x[k]));
      largest_w = std::max<double>(largest_w, std::abs(w[k]));
    }
    const bool integer = scales == ScaleMode::kInteger;
    const double x_error = largest_x / (integer ? 127 : 254);
    const double w_error = integer ? largest_w / 254 : 0;
    for (uint32_t k = 0; k < inputs_; ++k) {
      sum += double{w[k]} * x[k];
      bound += std::abs(w[k]) * x_error + (std::abs(x[k]) + x_error) * w_error;
    }
    return {sum, bound + 1e-5 * std::abs(sum)};
  }

  OpSpec spec_;
  uint32_t rows_, inputs_, outputs_;
  SharedMemory memory_;
  Arena arena_;
  std::mt19937 random_{7};
  TensorView batch_, source_, target_, norm_;
  std::vector<TensorView> file_;
  Matrix weights_, before_;
};

NpuOptions emulated() {
  NpuOptions options;
  options.emulated = true;
  return options;
}

struct Shape {
  Phase phase;
  uint32_t rows;
  ScaleMode scales;
};
class NpuProjectionTest : public ::testing::TestWithParam<Shape> {};

TEST_P(NpuProjectionTest, QkvIsTheProductOfTheNormedRows) {
  NpuOptions options = emulated();
  options.scales = GetParam().scales;
  const auto backend = make_npu_backend(options);
  const LayerConfig layer = small_layer();
  Projection projection(Op::kQkv, GetParam().phase, GetParam().rows, layer);
  ASSERT_EQ(projection.run(*backend), Status::kDone) << backend->failure();
  projection.expect_product(GetParam().scales);
}

TEST_P(NpuProjectionTest, OutAddsTheNormedProduct) {
  NpuOptions options = emulated();
  options.scales = GetParam().scales;
  const auto backend = make_npu_backend(options);
  const LayerConfig layer = small_layer();
  Projection projection(Op::kAttnOut, GetParam().phase, GetParam().rows, layer);
  ASSERT_EQ(projection.run(*backend), Status::kDone) << backend->failure();
  projection.expect_residual(0.02);
}

INSTANTIATE_TEST_SUITE_P(Shapes, NpuProjectionTest,
                         ::testing::Values(Shape{Phase::kDecode, 1, ScaleMode::kInteger},
                                           Shape{Phase::kDecode, 3, ScaleMode::kExact},
                                           Shape{Phase::kDecode, 6, ScaleMode::kInteger},
                                           Shape{Phase::kPrefill, 5, ScaleMode::kInteger},
                                           Shape{Phase::kPrefill, 20, ScaleMode::kExact}));

TEST(NpuBackend, SaysItIsEmulated) {
  const auto backend = make_npu_backend(emulated());
  EXPECT_EQ(backend->info().name, "npu-emu");
  EXPECT_TRUE(backend->info().emulated);
  EXPECT_THAT(backend->info().device, HasSubstr("npu1 array at 1.028 GHz"));
}

TEST(NpuBackend, DeclinesAllButTheProjectionsWithAReason) {
  const auto backend = make_npu_backend(emulated());
  const LayerConfig layer = small_layer();
  for (const Op op : {Op::kEmbed, Op::kAttnCore, Op::kFfn, Op::kHead, Op::kRmsNorm, Op::kMatmul,
                      Op::kAttention, Op::kTopK}) {
    OpSpec spec;
    spec.op = op;
    spec.config = &layer;
    EXPECT_FALSE(backend->supports(spec).ok) << op_info(op).name;
    EXPECT_NE(backend->supports(spec).reason, "");
  }
}

TEST(NpuBackend, DeclinesWidthsThatAreNotWholeGroups) {
  const auto backend = make_npu_backend(emulated());
  LayerConfig layer = small_layer();
  layer.hidden = 100;
  const Support support = backend->supports(spec_of(Op::kQkv, Phase::kDecode, 1, layer));
  EXPECT_FALSE(support.ok);
  EXPECT_THAT(support.reason, HasSubstr("100"));
}

TEST(NpuBackend, CountsWhereTheTimeGoes) {
  const auto backend = make_npu_backend(emulated());
  const LayerConfig layer = small_layer();
  Projection projection(Op::kQkv, Phase::kDecode, 6, layer);
  ASSERT_EQ(projection.run(*backend), Status::kDone);
  const std::vector<NpuOpCounters> counters = backend->counters();
  ASSERT_EQ(counters.size(), 1u);
  EXPECT_EQ(counters[0].op, Op::kQkv);
  EXPECT_EQ(counters[0].phase, Phase::kDecode);
  EXPECT_EQ(counters[0].steps, 1u);
  EXPECT_EQ(counters[0].rows, 6u);
  EXPECT_EQ(counters[0].runs, 2u);  // four rows, then two
  // At least the weights' nibbles, twice.
  EXPECT_GT(counters[0].array_bytes, 2u * layer.hidden * layer.qkv_width() / 2);
  EXPECT_GT(counters[0].predicted_array_us, 1);
  EXPECT_GT(counters[0].predicted_launch_us, 50);
  EXPECT_GT(counters[0].device_us, 0);
  EXPECT_DOUBLE_EQ(backend->device_counters().predicted_seconds,
                   1e-6 * (counters[0].predicted_array_us + counters[0].predicted_launch_us));
}

TEST(NpuBackend, ZeroedResultsLeaveTheResidualAsItWas) {
  NpuOptions options = emulated();
  options.zero_results = true;
  const auto backend = make_npu_backend(options);
  const LayerConfig layer = small_layer();
  Projection out(Op::kAttnOut, Phase::kDecode, 2, layer);
  ASSERT_EQ(out.run(*backend), Status::kDone);
  EXPECT_EQ(out.target(), out.before());
}

TEST(NpuBackend, AHangIsReportedAndEndsAllLaterWork) {
  NpuOptions options = emulated();
  options.emulation_seconds = 1e-9;
  const auto backend = make_npu_backend(options);
  const LayerConfig layer = small_layer();
  Projection projection(Op::kQkv, Phase::kDecode, 1, layer);
  EXPECT_EQ(projection.run(*backend), Status::kTimeout);
  EXPECT_NE(backend->failure(), "");
  EXPECT_EQ(projection.target(), projection.before());  // no partial result
  EXPECT_EQ(projection.run(*backend), Status::kTimeout);
}

TEST(NpuBackend, WithoutAnNpuSaysWhatIsMissing) {
  try {
    make_npu_backend({});
    GTEST_SKIP() << "this machine has a usable NPU";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("no usable NPU"));
  }
}

}  // namespace
}  // namespace tandem::npu
