// SPDX-License-Identifier: Apache-2.0
#include "gguf/requantize.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <span>
#include <string_view>

#include "base/error.h"
#include "base/threads.h"
#include "gguf/gguf_writer.h"
#include "gguf/pieces.h"
#include "gguf/type_choice.h"
#include "tensor/quantize.h"

namespace tandem {
namespace {

// Elements that a thread converts at once, at least a row.
constexpr uint64_t kPieceElements = uint64_t{1} << 16;

constexpr std::string_view kFileTypeKey = "general.file_type";
constexpr std::string_view kQuantizationVersionKey = "general.quantization_version";

// Some rows of the tensor that is being converted.
struct Rows {
  uint64_t first, count;
};

// A thread's rows as floats, as new blocks, and as those blocks read back.
struct Buffers {
  std::vector<float> values, read_back;
  std::vector<std::byte> blocks;
};

// Over some rows: sums of squares of the values and of the conversion's differences.
struct Sums {
  double value = 0.0, difference = 0.0;
};

Sums sums_of_squares(std::span<const float> values, std::span<const float> read_back) {
  Sums sums;
  for (size_t i = 0; i < values.size(); ++i) {
    const double value = values[i];
    const double difference = value - read_back[i];
    sums.value += value * value;
    sums.difference += difference * difference;
  }
  return sums;
}

class Requantizer {
 public:
  Requantizer(const GgufFile& source, const std::filesystem::path& out,
              const RequantizeOptions& options)
      : source_(source), options_(options), writer_(out), pool_(options.thread_count) {
    buffers_.resize(pool_.size());
    for (const GgufTensor& tensor : source.tensors()) result_.size_before += tensor.data.size();
  }

  RequantizeResult run() {
    copy_metadata();
    const auto layers = layer_count();
    for (const GgufTensor& tensor : source_.tensors()) plan(tensor, layers);
    writer_.start();
    for (size_t i = 0; i < source_.tensors().size(); ++i) {
      const GgufTensor& tensor = source_.tensors()[i];
      if (result_.tensors[i].converted)
        convert(i, tensor);
      else
        copy(i, tensor);
      source_.drop_pages(tensor);
    }
    writer_.finish();
    result_.size_after = writer_.tensor_size();
    return std::move(result_);
  }

 private:
  // All but what describes the old file's types and layout.
  void copy_metadata() {
    for (const GgufEntry& entry : source_.entries()) {
      const bool replaced = entry.key == kFileTypeKey || entry.key == kQuantizationVersionKey ||
                            entry.key == "general.alignment";
      if (!replaced) writer_.add_entry(entry);
    }
    writer_.add_unsigned(kFileTypeKey, file_type_number(options_.dtype));
    writer_.add_unsigned(kQuantizationVersionKey, 2);
  }

  uint32_t layer_count() const {
    const auto architecture = source_.get_string("general.architecture");
    if (!architecture) return 0;
    const auto count = source_.get_unsigned(std::string(*architecture) + ".block_count");
    return static_cast<uint32_t>(std::min<uint64_t>(count.value_or(0), 1u << 20));
  }

  void plan(const GgufTensor& tensor, uint32_t layers) {
    RequantizedTensor row;
    row.name = std::string(tensor.name);
    row.from = row.to = tensor.dtype;
    const bool integers = tensor.dtype == DType::kI8 || tensor.dtype == DType::kI32;
    if (!integers && is_quantizable(tensor.name, tensor.dims[1], tensor.dims[2] * tensor.dims[3])) {
      row.to = choose_type(options_.dtype, tensor.name, layers, tensor.dims[0]);
      row.fell_back = row.to != preferred_type(options_.dtype, tensor.name, layers);
      row.converted = row.to != row.from;
    }
    const size_t dims = tensor.dims[3] > 1   ? 4
                        : tensor.dims[2] > 1 ? 3
                        : tensor.dims[1] > 1 ? 2
                                             : 1;
    writer_.add_tensor(tensor.name, row.to, std::span(tensor.dims).first(dims));
    result_.tensors.push_back(std::move(row));
  }

  void copy(size_t index, const GgufTensor& tensor) {
    writer_.write(index, 0, tensor.data);
    done_ += tensor.data.size();
    report();
  }

  void convert(size_t index, const GgufTensor& tensor) {
    const uint64_t cols = tensor.dims[0], row_count = tensor.dims[1];
    const uint64_t step = std::max<uint64_t>(kPieceElements / cols, 1);
    const uint64_t pieces = (row_count + step - 1) / step;
    std::vector<Sums> sums(pieces);  // kept apart, so that the total does not depend on timing
    RequantizedTensor& row = result_.tensors[index];
    const auto work = [&](size_t piece, uint32_t thread) {
      const Rows rows = {piece * step, std::min(step, row_count - piece * step)};
      sums[piece] = convert_rows(tensor, rows, row.to, buffers_[thread]);
      const uint64_t row_size = dtype_size(row.to, cols);
      writer_.write(index, rows.first * row_size,
                    std::span(buffers_[thread].blocks).first(rows.count * row_size));
      done_ += rows.count * dtype_size(row.from, cols);
    };
    for_each_piece(pool_, pieces, work, [&] { report(); });

    Sums total;
    for (const Sums& s : sums) {
      total.value += s.value;
      total.difference += s.difference;
    }
    const double count = static_cast<double>(cols * row_count);
    row.rms = std::sqrt(total.value / count);
    row.rmse = std::sqrt(total.difference / count);
  }

  Sums convert_rows(const GgufTensor& tensor, Rows rows, DType to, Buffers& buffers) const {
    const size_t cols = tensor.dims[0];
    const size_t row_size = dtype_size(to, cols);
    buffers.values.resize(cols);
    buffers.read_back.resize(cols);
    buffers.blocks.resize(std::max(buffers.blocks.size(), rows.count * row_size));
    Sums sums;
    for (uint64_t r = 0; r < rows.count; ++r) {
      const std::byte* in = tensor.data.data() + (rows.first + r) * dtype_size(tensor.dtype, cols);
      std::byte* out = buffers.blocks.data() + r * row_size;
      dequantize_row(tensor.dtype, in, buffers.values.data(), cols);
      check_finite(buffers.values, tensor, rows.first + r, "a value that is not finite");
      quantize_row(to, buffers.values.data(), out, cols);
      dequantize_row(to, out, buffers.read_back.data(), cols);
      check_finite(buffers.read_back, tensor, rows.first + r, "a value too large for the new type");
      const Sums of_row = sums_of_squares(buffers.values, buffers.read_back);
      sums.value += of_row.value;
      sums.difference += of_row.difference;
    }
    return sums;
  }

  void check_finite(std::span<const float> values, const GgufTensor& tensor, uint64_t row,
                    std::string_view problem) const {
    const auto bad = std::find_if(values.begin(), values.end(),
                                  [](float value) { return !std::isfinite(value); });
    if (bad != values.end())
      throw Error(ErrorCode::kInvalidFile,
                  fmt::format("{}: tensor {} has {} in row {}, column {}", source_.name(),
                              tensor.name, problem, row, bad - values.begin()));
  }

  void report() {
    if (options_.progress) options_.progress(done_, result_.size_before);
  }

  const GgufFile& source_;
  const RequantizeOptions& options_;
  GgufWriter writer_;
  ThreadPool pool_;
  std::vector<Buffers> buffers_;  // one for each thread
  RequantizeResult result_;
  std::atomic<uint64_t> done_ = 0;  // bytes of the source
};

}  // namespace

bool can_requantize(DType dtype) {
  // q5_0 is written only where rows do not fit q4_k.
  return can_quantize(dtype) && dtype != DType::kQ5_0;
}

RequantizeResult requantize(const GgufFile& source, const std::filesystem::path& out,
                            const RequantizeOptions& options) {
  if (!can_requantize(options.dtype))
    throw Error(ErrorCode::kUsage,
                fmt::format("cannot convert to {}; choose q4_0, q8_0, q4_k, q6_k, f16, bf16 or f32",
                            dtype_name(options.dtype)));
  if (source.tensors().empty())
    throw Error(ErrorCode::kInvalidFile,
                fmt::format("{}: holds no tensors, only metadata", source.name()));
  return Requantizer(source, out, options).run();
}

}  // namespace tandem
