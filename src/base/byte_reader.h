// A bounds-checked little-endian cursor over bytes from outside.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

#include "base/error.h"

namespace tandem {

// Reads values in order; every read past the end throws kInvalidFile naming the offset and what
// was being read. Does not own the bytes.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  size_t offset() const { return offset_; }
  size_t remaining() const { return bytes_.size() - offset_; }

  // A number as stored, little-endian.
  template <typename T>
  T read(std::string_view what) {
    static_assert(std::is_arithmetic_v<T>);
    T value;
    std::memcpy(&value, take(sizeof(T), what).data(), sizeof(T));
    return value;
  }

  // The next `size` bytes, as a view into the source.
  std::span<const std::byte> take(uint64_t size, std::string_view what) {
    if (size > remaining())
      throw Error(ErrorCode::kInvalidFile,
                  fmt::format("offset {}: {} needs {} bytes but only {} are left", offset_, what,
                              size, remaining()));
    const auto bytes = bytes_.subspan(offset_, static_cast<size_t>(size));
    offset_ += static_cast<size_t>(size);
    return bytes;
  }

 private:
  std::span<const std::byte> bytes_;
  size_t offset_ = 0;
};

}  // namespace tandem
