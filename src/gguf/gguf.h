// What a loaded GGUF file offers: metadata and tensors, validated, mapped, never copied.
// Format: the GGUF specification, versions 2 and 3 (ggml's docs/gguf.md).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/tensor_view.h"

namespace tandem {

// A metadata array. Strings are views into the file; numbers are widened.
using GgufArray = std::variant<std::vector<uint64_t>, std::vector<int64_t>, std::vector<double>,
                               std::vector<bool>, std::vector<std::string_view>>;
using GgufValue = std::variant<uint64_t, int64_t, double, bool, std::string_view, GgufArray>;

// One metadata entry as stored: `bytes` is the value's type and the value.
struct GgufEntry {
  std::string_view key;
  std::span<const std::byte> bytes;
};

struct GgufTensor {
  std::string_view name;
  DType dtype = DType::kF32;
  // GGUF order: dims[0] is the contiguous one (columns), dims[1] the rows.
  std::array<uint64_t, 4> dims = {1, 1, 1, 1};
  uint64_t offset = 0;              // from the start of the file
  std::span<const std::byte> data;  // mapped

  // [1, rows, cols], for tensors of at most two dimensions.
  TensorView view() const;
};

// Immutable after opening; movable; the mapping lives as long as the object.
class GgufFile {
 public:
  // Maps and validates. Throws kNotFound (missing, a directory), kInvalidFile with the offset and
  // what is wrong there, kUnsupported (a tensor type or version we do not read, a split file).
  static GgufFile open(const std::filesystem::path& path);
  // The same over bytes that outlive the object; `name` stands for the path in messages.
  static GgufFile parse(std::span<const std::byte> bytes, std::string name);

  GgufFile(GgufFile&&) noexcept;
  GgufFile& operator=(GgufFile&&) noexcept;
  ~GgufFile();

  const std::string& name() const;
  uint32_t version() const;
  uint64_t file_size() const;
  std::span<const GgufTensor> tensors() const;
  const GgufTensor* find_tensor(std::string_view name) const;
  const std::map<std::string, GgufValue, std::less<>>& metadata() const;
  // The metadata as stored, in the file's order, to copy it into another file.
  std::span<const GgufEntry> entries() const;

  // Typed look-ups: nullopt when the key is absent, kInvalidFile when it holds another kind.
  // Integers of either sign are accepted where they fit.
  std::optional<uint64_t> get_unsigned(std::string_view key) const;
  std::optional<double> get_number(std::string_view key) const;
  std::optional<bool> get_bool(std::string_view key) const;
  std::optional<std::string_view> get_string(std::string_view key) const;
  const std::vector<std::string_view>* get_strings(std::string_view key) const;
  const std::vector<double>* get_numbers(std::string_view key) const;    // float arrays
  const std::vector<int64_t>* get_integers(std::string_view key) const;  // signed integer arrays

  // Tells the kernel that the tensor's pages are no longer needed: they leave resident memory and
  // are read again if touched. No effect on files given as bytes.
  void drop_pages(const GgufTensor& tensor) const;

 private:
  struct Impl;
  explicit GgufFile(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tandem
