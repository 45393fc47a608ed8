// Parses and validates the bytes of a GGUF file. Internal to the module: see gguf.h.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gguf/gguf.h"

namespace tandem {

// The numbers that GGUF gives to the kinds of metadata values.
enum class GgufValueType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

inline constexpr uint64_t kGgufDefaultAlignment = 32;  // of tensor data, unless the file says else
inline constexpr uint32_t kGgufMaxDims = 4;
inline constexpr uint64_t kGgufMaxTensorName = 64;
inline constexpr uint64_t kGgufMaxKey = 65535;

// Strings and tensor data are views into the parsed bytes.
struct GgufContents {
  uint32_t version = 0;
  std::vector<GgufEntry> entries;
  std::map<std::string, GgufValue, std::less<>> metadata;
  std::vector<GgufTensor> tensors;
  std::unordered_map<std::string_view, size_t> tensor_index;  // by name
};

// Throws kInvalidFile with the offset and what is wrong there, or kUnsupported; the messages do
// not name the file.
GgufContents read_gguf(std::span<const std::byte> bytes);

}  // namespace tandem
