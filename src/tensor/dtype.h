// Element types of tensors: one row per type.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace tandem {

enum class DType : uint8_t {
  kF32,
  kF16,
  kBF16,
  kI8,
  kI32,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ4K,
  kQ5K,
  kQ6K,
};

struct DTypeInfo {
  DType dtype;
  std::string_view name;  // lower case, as on the command line: "q4_0", "q6_k", "bf16"
  uint32_t block_count;   // elements in a block; 1 for plain types
  uint32_t block_size;    // bytes of a block
  int32_t gguf_type;      // the number in a GGUF tensor record
};

std::span<const DTypeInfo> dtype_infos();
const DTypeInfo& dtype_info(DType dtype);

// By command-line name (any case) or GGUF number; nullptr when there is no such type.
const DTypeInfo* find_dtype(std::string_view name);
const DTypeInfo* find_gguf_type(uint32_t gguf_type);

inline std::string_view dtype_name(DType dtype) { return dtype_info(dtype).name; }
inline bool is_quantized(DType dtype) { return dtype_info(dtype).block_count > 1; }

// Bytes of `count` elements; `count` must be a multiple of the block.
size_t dtype_size(DType dtype, size_t count);

}  // namespace tandem
