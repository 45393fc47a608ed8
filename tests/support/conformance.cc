// SPDX-License-Identifier: Apache-2.0
#include "support/conformance.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "support/compare.h"
#include "support/random_weights.h"
#include "support/reference.h"
#include "tensor/half.h"
#include "tensor/quantize.h"

namespace tandem {
namespace {

using reference::Matrix;

constexpr float kForbidden = 30000;  // in cache rows that nobody may attend to

// Rows prepared for beside the batch's. Few rows have none: devices take a kernel for each number.
uint32_t spare_rows(const Case& c) { return c.op != Op::kMatmul ? 2 : c.rows <= 5 ? 0 : 1; }

class CaseRun {
 public:
  CaseRun(Backend& backend, const Case& c, Rounding rounding);

  Support supports() const { return backend_.supports(spec_); }
  CaseResult run();

 private:
  // A view of `dims` with guard bytes between rows; the memory around holds the canary.
  TensorView allocate(DType dtype, std::array<uint32_t, 3> dims);
  void fill(const TensorView& view, float deviation);
  void allow_writing(const TensorView& view, uint32_t plane, uint32_t row, uint32_t first,
                     uint32_t count);
  void allow_rows(const TensorView& view, uint32_t rows);
  void add_weight(DType dtype, uint32_t rows, uint32_t cols);

  void make_batch();
  void make_operands();
  void make_cache();
  void store(const TensorView& values, const TensorView& scales, uint32_t plane, uint32_t slot);
  std::vector<double> cache_row(const TensorView& values, const TensorView& scales, uint32_t plane,
                                uint32_t slot) const;

  uint32_t active_rows() const { return c_.on_outputs ? outputs_ : c_.rows; }
  std::vector<float> row_of(const TensorView& view, uint32_t row) const;
  void expect(const TensorView& view, uint32_t row, const Expected& want, Bound bound);
  void expect_results();
  void expect_matmul();
  void expect_rope(const std::vector<std::vector<float>>& before);
  void expect_attention();
  void expect_ids();
  void expect_untouched();
  void fail(const std::string& message) {
    if (result_.message.empty()) result_.message = message;
  }

  Backend& backend_;
  Case c_;
  Rounding rounding_;
  OpSpec spec_;
  uint32_t outputs_ = 0;
  std::mt19937 random_;
  SharedMemory memory_;
  size_t used_ = 64;
  std::vector<std::vector<std::byte>> file_bytes_;
  std::vector<TensorView> file_;
  std::vector<Matrix> weights_;  // the file's, as floats
  TensorView batch_;
  std::vector<TensorView> args_;
  std::vector<BatchRow> rows_;
  std::vector<std::byte> before_;
  std::vector<uint8_t> writable_;  // by byte of the memory
  CaseResult result_;
};

size_t memory_size(const Case& c) {
  size_t widest = std::max(c.width, 2 * c.config.qkv_width());
  for (uint32_t n : c.outputs) widest += n;
  const size_t cache = size_t{3} * c.config.kv_heads * c.capacity * (c.config.head_dim + 64) * 2;
  return (size_t{c.rows} + 8) * (3 * widest + 512) * 4 + cache * 4 + (1 << 16);
}

CaseRun::CaseRun(Backend& backend, const Case& c, Rounding rounding)
    : backend_(backend),
      c_(c),
      rounding_(rounding),
      random_(random_seed()),
      memory_(memory_size(c), "a conformance case") {
  c_.config.norm_epsilon = 1e-6f;
  c_.config.embedding_scale = 25.298f;
  spec_.op = c.op;
  spec_.phase = c.rows == 1 ? Phase::kDecode : Phase::kPrefill;
  const bool reduces = c.op == Op::kGather || c.op == Op::kArgmax || c.op == Op::kTopK;
  spec_.on_outputs = c.on_outputs || reduces;
  outputs_ = spec_.on_outputs ? (reduces ? c.rows : c.rows - 1) : 0;
  spec_.max_rows = c.rows + spare_rows(c);
  spec_.max_outputs = outputs_ + 1;
  spec_.max_sequences = 3;
  spec_.kv = c.kv;
  spec_.config = &c_.config;
  spec_.weights.count = static_cast<uint32_t>(c.types.size());
  std::copy(c.types.begin(), c.types.end(), spec_.weights.types.begin());
}

TensorView CaseRun::allocate(DType dtype, std::array<uint32_t, 3> dims) {
  TensorView view;
  view.memory = &memory_;
  view.offset = used_;
  view.dtype = dtype;
  view.dims = dims;
  view.strides[1] = (dtype_size(dtype, dims[2]) + 63) / 64 * 64 + 64;
  view.strides[0] = view.strides[1] * dims[1];
  used_ += view.strides[0] * dims[0] + 64;
  if (used_ > memory_.size()) throw std::length_error("memory_size is too small for " + c_.name());
  for (size_t at = view.offset; at < used_; at += 4) std::memcpy(memory_.data() + at, &kCanary, 4);
  return view;
}

void CaseRun::fill(const TensorView& view, float deviation) {
  std::normal_distribution<float> values(0, deviation);
  for (uint32_t row = 0; row < view.rows(); ++row)
    for (uint32_t i = 0; i < view.cols(); ++i) view.row_as<float>(row)[i] = values(random_);
}

void CaseRun::allow_writing(const TensorView& view, uint32_t plane, uint32_t row, uint32_t first,
                            uint32_t count) {
  const size_t begin =
      static_cast<size_t>(view.row(plane, row) - memory_.data()) + dtype_size(view.dtype, first);
  std::fill_n(writable_.begin() + static_cast<std::ptrdiff_t>(begin), dtype_size(view.dtype, count),
              true);
}

void CaseRun::allow_rows(const TensorView& view, uint32_t rows) {
  for (uint32_t row = 0; row < rows; ++row) allow_writing(view, 0, row, 0, view.cols());
}

void CaseRun::add_weight(DType dtype, uint32_t rows, uint32_t cols) {
  const std::vector<std::byte>& bytes =
      file_bytes_.emplace_back(random_weights(dtype, size_t{rows} * cols, random_));
  const TensorView view = view_of_bytes(bytes.data(), dtype, {1, rows, cols});
  Matrix matrix{rows, cols, std::vector<float>(size_t{rows} * cols)};
  for (uint32_t r = 0; r < rows; ++r)
    dequantize_row(dtype, view.row(0, r), matrix.values.data() + size_t{r} * cols, cols);
  weights_.push_back(std::move(matrix));
  file_.push_back(view);
}

void CaseRun::make_batch() {
  batch_ = allocate(DType::kI32, {1, 1 + spec_.max_rows, 4});
  batch_.strides[1] = 16;  // records follow each other
  *batch_.row_as<BatchHeader>(0) = {c_.rows, outputs_, 0, 0};
  if (c_.runs.empty()) {
    for (uint32_t r = 0; r < c_.rows; ++r)
      rows_.push_back({static_cast<uint32_t>(random_() % 3), 0, r, 0});
  } else {
    for (const RowRun& run : c_.runs)
      for (uint32_t i = 0; i < run.count; ++i)
        rows_.push_back({0, run.sequence, run.first_position + i, 0});
  }
  // Outputs in reverse, so that output i is not row i.
  for (uint32_t i = 0; i < c_.rows; ++i) rows_[i].output_row = c_.rows - 1 - i;
  for (uint32_t r = 0; r < c_.rows; ++r) *batch_.row_as<BatchRow>(1 + r) = rows_[r];
}

void CaseRun::store(const TensorView& values, const TensorView& scales, uint32_t plane,
                    uint32_t slot) {
  std::normal_distribution<float> random(0, 1);
  for (uint32_t i = 0; i < values.cols(); ++i) {
    if (c_.kv == DType::kF32) {
      values.row_as<float>(slot, plane)[i] = random(random_);
    } else if (c_.kv == DType::kF16) {
      values.row_as<uint16_t>(slot, plane)[i] = f32_to_f16(random(random_));
    } else {
      values.row_as<int8_t>(slot, plane)[i] =
          static_cast<int8_t>(static_cast<int>(random_() % 255) - 127);
      scales.row_as<uint16_t>(slot, plane)[i / 32] = f32_to_f16(0.01f);
    }
  }
}

// k, v, k_scale, v_scale: forbidden values, then what the batch's rows may attend to.
void CaseRun::make_cache() {
  const LayerConfig& config = c_.config;
  const uint32_t planes = spec_.max_sequences * config.kv_heads;
  const bool scaled = c_.kv == DType::kI8;
  const size_t first = args_.size();
  for (int i = 0; i < 2; ++i)
    args_.push_back(allocate(c_.kv, {planes, c_.capacity, config.head_dim}));
  for (int i = 0; i < 2; ++i)
    args_.push_back(scaled ? allocate(DType::kF16, {planes, c_.capacity, config.head_dim / 32})
                           : TensorView{nullptr, 0, DType::kF16, {0, 0, 0}, {0, 0}});
  for (int kv = 0; kv < 2; ++kv) {
    const TensorView& values = args_[first + static_cast<size_t>(kv)];
    const TensorView& scales = args_[first + 2 + static_cast<size_t>(kv)];
    for (uint32_t plane = 0; plane < planes; ++plane)
      for (uint32_t slot = 0; slot < c_.capacity; ++slot)
        for (uint32_t i = 0; i < config.head_dim; ++i) {
          if (c_.kv == DType::kF32) values.row_as<float>(slot, plane)[i] = kForbidden;
          if (c_.kv == DType::kF16)
            values.row_as<uint16_t>(slot, plane)[i] = f32_to_f16(kForbidden);
          if (!scaled) continue;
          values.row_as<int8_t>(slot, plane)[i] = 127;
          scales.row_as<uint16_t>(slot, plane)[i / 32] = f32_to_f16(kForbidden / 127);
        }
    if (c_.op != Op::kAttention) continue;
    for (const BatchRow& row : rows_) {
      const uint32_t window = config.window == 0 ? row.position + 1 : config.window;
      const uint32_t begin = row.position + 1 > window ? row.position + 1 - window : 0;
      for (uint32_t p = begin; p <= row.position; ++p)
        for (uint32_t g = 0; g < config.kv_heads; ++g)
          store(values, scales, row.sequence * config.kv_heads + g, p % c_.capacity);
    }
  }
}

std::vector<double> CaseRun::cache_row(const TensorView& values, const TensorView& scales,
                                       uint32_t plane, uint32_t slot) const {
  std::vector<double> row(values.cols());
  for (uint32_t i = 0; i < values.cols(); ++i) {
    if (c_.kv == DType::kF32)
      row[i] = values.row_as<float>(slot, plane)[i];
    else if (c_.kv == DType::kF16)
      row[i] = f16_to_f32(values.row_as<uint16_t>(slot, plane)[i]);
    else
      row[i] = values.row_as<int8_t>(slot, plane)[i] *
               static_cast<double>(f16_to_f32(scales.row_as<uint16_t>(slot, plane)[i / 32]));
  }
  return row;
}

void CaseRun::make_operands() {
  const uint32_t rows = spec_.max_rows, outputs = spec_.max_outputs;
  const auto floats = [&](uint32_t count, uint32_t cols) {
    return allocate(DType::kF32, {1, count, cols});
  };
  switch (c_.op) {
    case Op::kMatmul: {
      uint32_t total = 0;
      for (size_t i = 0; i < c_.types.size(); ++i) {
        add_weight(c_.types[i], c_.outputs[i], c_.width);
        total += c_.outputs[i];
      }
      args_ = {floats(rows, total), floats(rows, c_.width)};
      break;
    }
    case Op::kRmsNorm:
    case Op::kRmsNormAdd:
      add_weight(c_.types[0], 1, c_.width);
      args_ = {floats(rows, c_.width), floats(rows, c_.width)};
      break;
    case Op::kGeglu: args_ = {floats(rows, c_.width), floats(rows, 2 * c_.width)}; break;
    case Op::kEmbed:
      add_weight(c_.types[0], 3, c_.width);
      args_ = {floats(rows, c_.width)};
      break;
    case Op::kGather: args_ = {floats(outputs, c_.width), floats(rows, c_.width)}; break;
    case Op::kArgmax:
      args_ = {allocate(DType::kI32, {1, 1, outputs}), floats(outputs, c_.width)};
      break;
    case Op::kTopK:
      args_ = {allocate(DType::kI32, {1, outputs, c_.outputs[0]}), floats(outputs, c_.outputs[0]),
               floats(outputs, c_.width)};
      break;
    case Op::kQkNormRope:
      for (int i = 0; i < 2; ++i) add_weight(DType::kF32, 1, c_.config.head_dim);
      args_ = {floats(rows, c_.config.qkv_width())};
      make_cache();
      break;
    case Op::kAttention:
      args_ = {floats(rows, c_.config.q_width())};
      make_cache();
      args_.push_back(floats(rows, c_.config.qkv_width()));
      break;
    default: throw std::logic_error("no case for " + std::string(op_info(c_.op).name));
  }
  // What is read: the last operand, and the first where the op works in place.
  if (c_.op != Op::kQkNormRope && c_.op != Op::kEmbed) fill(args_.back(), 1);
  if (c_.op == Op::kRmsNormAdd || c_.op == Op::kQkNormRope) fill(args_[0], 1);
  if (c_.op == Op::kArgmax || c_.op == Op::kTopK)  // ties, also of the largest
    for (uint32_t row = 0; row < outputs; ++row)
      for (uint32_t i = 0; i < c_.width; ++i) {
        float& logit = args_.back().row_as<float>(row)[i];
        logit = std::round(logit * 8) / 8;
      }
}

std::vector<float> CaseRun::row_of(const TensorView& view, uint32_t row) const {
  return {view.row_as<float>(row), view.row_as<float>(row) + view.cols()};
}

void CaseRun::expect(const TensorView& view, uint32_t row, const Expected& want, Bound bound) {
  const Comparison result = compare(row_of(view, row), want, bound);
  result_.worst_share =
      std::max({result_.worst_share, result.worst_share, result.normalised_share});
  if (!result.ok) fail(fmt::format("row {}: {}", row, result.message));
}

void CaseRun::expect_matmul() {
  for (uint32_t row = 0; row < active_rows(); ++row) {
    uint32_t column = 0;
    for (size_t i = 0; i < weights_.size(); ++i) {
      Expected want;
      const bool blocks = is_quantized(c_.types[i]);
      reference::matmul_row(row_of(args_[1], row), weights_[i], blocks, rounding_, want);
      expect(args_[0].slice_cols(column, c_.outputs[i]), row, want,
             matmul_bound(blocks, rounding_, c_.width));
      column += c_.outputs[i];
    }
  }
}

void CaseRun::expect_rope(const std::vector<std::vector<float>>& before) {
  const LayerConfig& config = c_.config;
  const uint32_t dim = config.head_dim;
  for (uint32_t row = 0; row < c_.rows; ++row) {
    const BatchRow& at = rows_[row];
    const std::span<const float> in = before[row];
    const Bound bound = rope_bound(dim, at.position);
    for (uint32_t h = 0; h < config.heads + config.kv_heads; ++h) {
      Expected want;
      const Matrix& norm = weights_[h < config.heads ? 0 : 1];
      reference::norm_rope_head(in.subspan(size_t{h} * dim, dim), norm.row(0), config, at.position,
                                want);
      expect(args_[0].slice_cols(h * dim, dim), row, want, bound);
    }
    const uint32_t slot = at.position % c_.capacity;
    for (uint32_t g = 0; g < 2 * config.kv_heads; ++g) {
      const bool is_key = g < config.kv_heads;
      const float* source = args_[0].row_as<float>(row) + config.q_width() + size_t{g} * dim;
      const std::vector<double> got =
          cache_row(args_[is_key ? 1 : 2], args_[is_key ? 3 : 4],
                    at.sequence * config.kv_heads + g % config.kv_heads, slot);
      Expected want;
      for (uint32_t i = 0; i < dim; ++i) {
        double magnitude = std::fabs(static_cast<double>(source[i]));
        if (c_.kv == DType::kI8)
          for (uint32_t j = i / 32 * 32; j < i / 32 * 32 + 32; ++j)
            magnitude = std::max(magnitude, std::fabs(static_cast<double>(source[j])));
        want.push(source[i], magnitude);
      }
      const double rounding = cache_rounding(c_.kv);
      const Comparison result =
          compare(std::vector<float>(got.begin(), got.end()), want, {rounding, 0x1p-24, rounding});
      if (!result.ok) fail(fmt::format("cache, row {}: {}", row, result.message));
    }
  }
}

void CaseRun::expect_attention() {
  const LayerConfig& config = c_.config;
  const uint32_t dim = config.head_dim, group = config.heads / config.kv_heads;
  for (uint32_t row = 0; row < c_.rows; ++row) {
    const BatchRow& at = rows_[row];
    const uint32_t window = config.window == 0 ? at.position + 1 : config.window;
    const uint32_t begin = at.position + 1 > window ? at.position + 1 - window : 0;
    for (uint32_t h = 0; h < config.heads; ++h) {
      const uint32_t plane = at.sequence * config.kv_heads + h / group;
      std::vector<double> keys, values;
      for (uint32_t p = begin; p <= at.position; ++p) {
        const auto key = cache_row(args_[1], args_[3], plane, p % c_.capacity);
        const auto value = cache_row(args_[2], args_[4], plane, p % c_.capacity);
        keys.insert(keys.end(), key.begin(), key.end());
        values.insert(values.end(), value.begin(), value.end());
      }
      Expected want;
      reference::attention_head({args_[5].row_as<float>(row) + size_t{h} * dim, dim}, keys, values,
                                config.attention_scale, want);
      expect(args_[0].slice_cols(h * dim, dim), row, want, attention_bound(rounding_));
    }
  }
}

// The ids in order, lowest first among equals, and for kTopK their logits.
void CaseRun::expect_ids() {
  const uint32_t count = c_.op == Op::kTopK ? args_[0].cols() : 1;  // argmax: all in one row
  for (uint32_t output = 0; output < outputs_; ++output) {
    const float* row = args_.back().row_as<float>(output);
    std::vector<int32_t> order(c_.width);
    for (uint32_t i = 0; i < c_.width; ++i) order[i] = static_cast<int32_t>(i);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return row[a] > row[b]; });
    const int32_t* ids = c_.op == Op::kTopK ? args_[0].row_as<int32_t>(output)
                                            : args_[0].row_as<int32_t>(0) + output;
    for (uint32_t i = 0; i < count; ++i) {
      if (ids[i] != order[i])
        fail(fmt::format("output {}: id {} is {}, not {}", output, i, ids[i], order[i]));
      if (c_.op == Op::kTopK && args_[1].row_as<float>(output)[i] != row[order[i]])
        fail(fmt::format("output {}: value {} is not the logit of id {}", output, i, order[i]));
    }
  }
}

void CaseRun::expect_results() {
  if (c_.op == Op::kMatmul) return expect_matmul();
  if (c_.op == Op::kAttention) return expect_attention();
  if (c_.op == Op::kArgmax || c_.op == Op::kTopK) return expect_ids();
  for (uint32_t row = 0; row < (c_.op == Op::kGather ? outputs_ : active_rows()); ++row) {
    Expected want;
    Bound bound = kExactBound;
    const std::vector<float> x =
        c_.op == Op::kEmbed ? std::vector<float>()
                            : row_of(args_[1], c_.op == Op::kGather ? rows_[row].output_row : row);
    if (c_.op == Op::kRmsNorm) {
      reference::rms_norm_row(x, weights_[0].row(0), c_.config.norm_epsilon, want);
      bound = rms_norm_bound(c_.width);
    } else if (c_.op == Op::kGeglu) {
      reference::geglu_row(std::span(x).first(c_.width), std::span(x).last(c_.width), want);
      bound = kGegluBound;
    } else if (c_.op == Op::kEmbed) {
      for (float w : weights_[0].row(rows_[row].token)) {
        const double value =
            static_cast<double>(w) * static_cast<double>(c_.config.embedding_scale);
        want.push(value, std::fabs(value));
      }
      bound = kEmbedBound;
    } else {
      for (float v : x) want.push(v, 0);
    }
    expect(args_[0], row, want, bound);
  }
}

void CaseRun::expect_untouched() {
  const std::byte* after = memory_.data();
  for (size_t i = 0; i < used_; ++i)
    if (!writable_[i] && after[i] != before_[i])
      return fail(fmt::format("byte {} was written, which is outside what the op writes", i));
}

CaseResult CaseRun::run() {
  make_batch();
  make_operands();
  const std::span<std::byte> host = memory_.host().first(used_);
  writable_.assign(used_, 0);
  std::vector<std::vector<float>> in_place;
  if (c_.op == Op::kQkNormRope) {
    for (uint32_t row = 0; row < c_.rows; ++row) {
      in_place.push_back(row_of(args_[0], row));
      allow_writing(args_[0], 0, row, 0, c_.config.q_width() + c_.config.kv_width());
      for (uint32_t i = 1; i < 5; ++i)
        for (uint32_t g = 0; g < c_.config.kv_heads && args_[i].rows() != 0; ++g)
          allow_writing(args_[i], rows_[row].sequence * c_.config.kv_heads + g,
                        rows_[row].position % c_.capacity, 0, args_[i].cols());
    }
  } else {
    allow_rows(args_[0], c_.op == Op::kArgmax ? 0 : spec_.on_outputs ? outputs_ : c_.rows);
    if (c_.op == Op::kArgmax) allow_writing(args_[0], 0, 0, 0, outputs_);
    if (c_.op == Op::kTopK) allow_rows(args_[1], outputs_);
  }
  if (c_.op == Op::kRmsNormAdd)
    for (uint32_t row = 0; row < c_.rows; ++row) in_place.push_back(row_of(args_[0], row));
  before_.assign(host.begin(), host.end());

  const auto weights = file_.empty() ? nullptr : backend_.load(spec_, file_);
  if (c_.op != Op::kEmbed)  // the file's pages may go once the weights are loaded
    for (auto& bytes : file_bytes_) std::fill(bytes.begin(), bytes.end(), std::byte{0xFF});
  const auto kernel = backend_.prepare(spec_, weights.get());
  const Step step{kernel.get(), args_};
  Import& import = memory_.import_for(backend_);
  const auto program = backend_.record({&step, 1}, batch_);
  import.acquire(Access::kRead, 0, memory_.size());
  import.acquire(Access::kWrite, 0, memory_.size());
  const Status status = backend_.wait(backend_.submit(*program, 1), std::chrono::minutes(1));
  import.release(Access::kWrite, 0, memory_.size());
  if (status != Status::kDone) fail("the program did not finish: " + backend_.failure());

  if (c_.op == Op::kQkNormRope) {
    expect_rope(in_place);
  } else if (c_.op == Op::kRmsNormAdd) {
    for (uint32_t row = 0; row < c_.rows; ++row) {
      Expected want;
      reference::rms_norm_add_row(in_place[row], row_of(args_[1], row), weights_[0].row(0),
                                  c_.config.norm_epsilon, want);
      expect(args_[0], row, want, rms_norm_bound(c_.width));
    }
  } else {
    expect_results();
  }
  expect_untouched();
  result_.memory.assign(host.begin(), host.end());
  result_.supported = true;
  result_.ok = result_.message.empty();
  return result_;
}

}  // namespace

CaseResult run_case(Backend& backend, const Case& c, Rounding rounding) {
  CaseRun run(backend, c, rounding);
  const Support support = run.supports();
  if (!support.ok) return {false, false, support.reason, 0, {}};
  return run.run();
}

}  // namespace tandem
