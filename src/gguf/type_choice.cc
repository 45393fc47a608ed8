// SPDX-License-Identifier: Apache-2.0
#include "gguf/type_choice.h"

#include <charconv>

#include "base/check.h"

namespace tandem {
namespace {

bool starts_with(std::string_view text, std::string_view start) {
  return text.substr(0, start.size()) == start;
}

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

// The I of "blk.I.attn_v.weight"; 0 for other names.
uint32_t layer_of(std::string_view name) {
  constexpr std::string_view kPrefix = "blk.";
  uint32_t layer = 0;
  if (starts_with(name, kPrefix))
    std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), layer);
  return layer;
}

// The first and the last eighth of the layers, and every third one between.
bool deserves_more_bits(uint32_t layer, uint32_t layer_count) {
  const uint32_t eighth = layer_count / 8;
  return layer < eighth || layer >= 7 * layer_count / 8 || (layer - eighth) % 3 == 2;
}

// For rows that are no whole super-blocks.
DType smaller_blocks(DType dtype) {
  switch (dtype) {
    case DType::kQ4K: return DType::kQ5_0;
    case DType::kQ5K: return DType::kQ5_1;
    case DType::kQ6K: return DType::kQ8_0;
    default: return dtype;
  }
}

}  // namespace

DType preferred_type(DType target, std::string_view name, uint32_t layer_count) {
  if (name == "token_embd.weight" || name == "output.weight")
    return is_quantized(target) && target != DType::kQ8_0 ? DType::kQ6K : target;
  const bool sensitive = ends_with(name, "attn_v.weight") || ends_with(name, "ffn_down.weight");
  if ((target == DType::kQ4K || target == DType::kQ5K) && sensitive &&
      deserves_more_bits(layer_of(name), layer_count))
    return DType::kQ6K;
  return target;
}

DType choose_type(DType target, std::string_view name, uint32_t layer_count, uint64_t cols) {
  const auto fits = [&](DType dtype) { return cols % dtype_info(dtype).block_count == 0; };
  DType chosen = preferred_type(target, name, layer_count);
  if (!fits(chosen)) chosen = smaller_blocks(chosen);
  return fits(chosen) ? chosen : DType::kF16;
}

uint32_t file_type_number(DType target) {
  switch (target) {
    case DType::kF32: return 0;
    case DType::kF16: return 1;
    case DType::kQ4_0: return 2;
    case DType::kQ4_1: return 3;
    case DType::kQ8_0: return 7;
    case DType::kQ5_0: return 8;
    case DType::kQ5_1: return 9;
    case DType::kQ4K: return 15;  // Q4_K_M
    case DType::kQ5K: return 17;  // Q5_K_M
    case DType::kQ6K: return 18;
    case DType::kBF16: return 32;
    case DType::kI8:
    case DType::kI32: break;
  }
  TANDEM_CHECK(false, "%s is no type of a model", dtype_info(target).name.data());
  return 0;
}

bool is_quantizable(std::string_view name, uint64_t rows, uint64_t planes) {
  return rows > 1 && planes == 1 && ends_with(name, ".weight") && !starts_with(name, "v.") &&
         !starts_with(name, "mm.");
}

}  // namespace tandem
