// SPDX-License-Identifier: Apache-2.0
#include "tensor/dtype.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "base/check.h"

namespace tandem {
namespace {

// In the order of the enumeration. Block sizes and numbers: the GGUF specification (ggml/docs).
constexpr std::array kInfos = {
    DTypeInfo{DType::kF32, "f32", 1, 4, 0},       DTypeInfo{DType::kF16, "f16", 1, 2, 1},
    DTypeInfo{DType::kBF16, "bf16", 1, 2, 30},    DTypeInfo{DType::kI8, "i8", 1, 1, 24},
    DTypeInfo{DType::kI32, "i32", 1, 4, 26},      DTypeInfo{DType::kQ4_0, "q4_0", 32, 18, 2},
    DTypeInfo{DType::kQ4_1, "q4_1", 32, 20, 3},   DTypeInfo{DType::kQ5_0, "q5_0", 32, 22, 6},
    DTypeInfo{DType::kQ5_1, "q5_1", 32, 24, 7},   DTypeInfo{DType::kQ8_0, "q8_0", 32, 34, 8},
    DTypeInfo{DType::kQ4K, "q4_k", 256, 144, 12}, DTypeInfo{DType::kQ5K, "q5_k", 256, 176, 13},
    DTypeInfo{DType::kQ6K, "q6_k", 256, 210, 14},
};

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) ==
           std::tolower(static_cast<unsigned char>(y));
  });
}

}  // namespace

std::span<const DTypeInfo> dtype_infos() { return kInfos; }

const DTypeInfo& dtype_info(DType dtype) { return kInfos[static_cast<size_t>(dtype)]; }

const DTypeInfo* find_dtype(std::string_view name) {
  const auto* row = std::find_if(kInfos.begin(), kInfos.end(), [&](const DTypeInfo& i) {
    return equal_ignoring_case(i.name, name);
  });
  return row == kInfos.end() ? nullptr : row;
}

const DTypeInfo* find_gguf_type(uint32_t gguf_type) {
  const auto* row = std::find_if(kInfos.begin(), kInfos.end(), [&](const DTypeInfo& i) {
    return static_cast<uint32_t>(i.gguf_type) == gguf_type;
  });
  return row == kInfos.end() ? nullptr : row;
}

size_t dtype_size(DType dtype, size_t count) {
  const DTypeInfo& info = dtype_info(dtype);
  TANDEM_CHECK(count % info.block_count == 0, "%zu elements are no whole blocks of %u", count,
               info.block_count);
  return count / info.block_count * info.block_size;
}

}  // namespace tandem
