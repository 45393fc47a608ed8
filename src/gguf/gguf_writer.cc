// SPDX-License-Identifier: Apache-2.0
#include "gguf/gguf_writer.h"

#include <utility>

#include "base/check.h"

namespace tandem {
namespace {

constexpr uint32_t kVersion = 3;

uint64_t align(uint64_t offset) {
  return (offset + kGgufDefaultAlignment - 1) / kGgufDefaultAlignment * kGgufDefaultAlignment;
}

// Numbers are stored little-endian, which every machine we run on is.
template <typename T>
void append(std::vector<std::byte>& out, T value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  out.insert(out.end(), bytes.begin(), bytes.end());
}

void append_string(std::vector<std::byte>& out, std::string_view text) {
  append(out, uint64_t{text.size()});
  const auto bytes = std::as_bytes(std::span(text));
  out.insert(out.end(), bytes.begin(), bytes.end());
}

template <typename T>
void append_numbers(std::vector<std::byte>& out, GgufValueType type, std::span<const T> values) {
  append(out, type);
  append(out, uint64_t{values.size()});
  const auto bytes = std::as_bytes(values);
  out.insert(out.end(), bytes.begin(), bytes.end());
}

}  // namespace

void GgufWriter::begin_entry(std::string_view key, GgufValueType type) {
  TANDEM_CHECK(file_ == nullptr, "metadata after start()");
  append_string(metadata_, key);
  append(metadata_, type);
  ++entry_count_;
}

void GgufWriter::add_unsigned(std::string_view key, uint32_t value) {
  begin_entry(key, GgufValueType::kU32);
  append(metadata_, value);
}

void GgufWriter::add_float(std::string_view key, float value) {
  begin_entry(key, GgufValueType::kF32);
  append(metadata_, value);
}

void GgufWriter::add_bool(std::string_view key, bool value) {
  begin_entry(key, GgufValueType::kBool);
  append(metadata_, static_cast<uint8_t>(value));
}

void GgufWriter::add_string(std::string_view key, std::string_view value) {
  begin_entry(key, GgufValueType::kString);
  append_string(metadata_, value);
}

void GgufWriter::add_strings(std::string_view key, std::span<const std::string_view> values) {
  begin_entry(key, GgufValueType::kArray);
  append(metadata_, GgufValueType::kString);
  append(metadata_, uint64_t{values.size()});
  for (std::string_view value : values) append_string(metadata_, value);
}

void GgufWriter::add_floats(std::string_view key, std::span<const float> values) {
  begin_entry(key, GgufValueType::kArray);
  append_numbers(metadata_, GgufValueType::kF32, values);
}

void GgufWriter::add_integers(std::string_view key, std::span<const int32_t> values) {
  begin_entry(key, GgufValueType::kArray);
  append_numbers(metadata_, GgufValueType::kI32, values);
}

void GgufWriter::add_entry(const GgufEntry& entry) {
  TANDEM_CHECK(file_ == nullptr, "metadata after start()");
  append_string(metadata_, entry.key);
  metadata_.insert(metadata_.end(), entry.bytes.begin(), entry.bytes.end());
  ++entry_count_;
}

size_t GgufWriter::add_tensor(std::string_view name, DType dtype, std::span<const uint64_t> dims) {
  TANDEM_CHECK(file_ == nullptr, "a tensor after start()");
  TANDEM_CHECK(!dims.empty() && dims.size() <= kGgufMaxDims, "%zu dimensions", dims.size());
  TANDEM_CHECK(dims[0] % dtype_info(dtype).block_count == 0, "rows of %zu are no whole blocks",
               static_cast<size_t>(dims[0]));
  uint64_t count = 1;
  for (uint64_t dim : dims) count *= dim;
  const uint64_t size = dtype_size(dtype, count);
  tensors_.push_back(
      {std::string(name), dtype, {dims.begin(), dims.end()}, size, align(data_size_)});
  data_size_ = align(data_size_) + size;
  tensor_size_ += size;
  return tensors_.size() - 1;
}

std::vector<std::byte> GgufWriter::header() const {
  std::vector<std::byte> out;
  for (char letter : std::string_view("GGUF")) append(out, letter);
  append(out, kVersion);
  append(out, uint64_t{tensors_.size()});
  append(out, entry_count_);
  out.insert(out.end(), metadata_.begin(), metadata_.end());
  for (const Tensor& tensor : tensors_) {
    append_string(out, tensor.name);
    append(out, static_cast<uint32_t>(tensor.dims.size()));
    for (uint64_t dim : tensor.dims) append(out, dim);
    append(out, dtype_info(tensor.dtype).gguf_type);
    append(out, tensor.offset);
  }
  return out;
}

void GgufWriter::start() {
  TANDEM_CHECK(file_ == nullptr, "started twice");
  const std::vector<std::byte> bytes = header();
  data_start_ = align(bytes.size());
  // Other readers expect the data to end on a multiple of the alignment, too.
  file_ = std::make_unique<AtomicFile>(target_, data_start_ + align(data_size_));
  file_->write(0, bytes);
}

void GgufWriter::write(size_t tensor, uint64_t offset, std::span<const std::byte> bytes) {
  TANDEM_CHECK(file_ != nullptr && tensor < tensors_.size(), "tensor %zu is not there", tensor);
  const Tensor& t = tensors_[tensor];
  TANDEM_CHECK(offset <= t.size && bytes.size() <= t.size - offset, "past the end of %s",
               t.name.c_str());
  file_->write(data_start_ + t.offset + offset, bytes);
  written_ += bytes.size();
}

void GgufWriter::finish() {
  TANDEM_CHECK(written_ == tensor_size_, "%zu of %zu bytes were written",
               static_cast<size_t>(written_), static_cast<size_t>(tensor_size_));
  file_->commit();
  file_ = nullptr;
}

}  // namespace tandem
