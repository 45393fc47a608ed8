// Writes GGUF files, version 3.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gguf/atomic_file.h"
#include "gguf/gguf.h"
#include "gguf/reader.h"

namespace tandem {

// Use: add metadata and tensors, start(), write every byte of every tensor, finish(). The target
// appears, or changes, in finish() only. Keys and names must be new; general.alignment, if added,
// must be 32.
class GgufWriter {
 public:
  explicit GgufWriter(std::filesystem::path target) : target_(std::move(target)) {}

  void add_unsigned(std::string_view key, uint32_t value);
  void add_float(std::string_view key, float value);
  void add_bool(std::string_view key, bool value);
  void add_string(std::string_view key, std::string_view value);
  void add_strings(std::string_view key, std::span<const std::string_view> values);
  void add_floats(std::string_view key, std::span<const float> values);
  void add_integers(std::string_view key, std::span<const int32_t> values);
  // Of another file, unchanged.
  void add_entry(const GgufEntry& entry);

  // `dims` as GgufTensor's, one to four of them, columns first, whole blocks. Returns the tensor's
  // number; tensors are stored in this order.
  size_t add_tensor(std::string_view name, DType dtype, std::span<const uint64_t> dims);

  // Bytes of all tensors, without the padding between them.
  uint64_t tensor_size() const { return tensor_size_; }

  // Writes the metadata and reserves the whole file. Throws as AtomicFile does, as do the next two.
  void start();
  // Bytes of a tensor, whole or a piece; every byte once, from any thread.
  void write(size_t tensor, uint64_t offset, std::span<const std::byte> bytes);
  void finish();

 private:
  struct Tensor {
    std::string name;
    DType dtype;
    std::vector<uint64_t> dims;
    uint64_t size;
    uint64_t offset;  // within the data
  };

  void begin_entry(std::string_view key, GgufValueType type);
  std::vector<std::byte> header() const;

  std::filesystem::path target_;
  std::vector<std::byte> metadata_;  // as stored
  uint64_t entry_count_ = 0;
  std::vector<Tensor> tensors_;
  uint64_t tensor_size_ = 0;
  uint64_t data_size_ = 0;   // with padding
  uint64_t data_start_ = 0;  // in the file
  std::atomic<uint64_t> written_ = 0;
  std::unique_ptr<AtomicFile> file_;
};

}  // namespace tandem
