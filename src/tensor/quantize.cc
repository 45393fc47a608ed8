// SPDX-License-Identifier: Apache-2.0
#include "tensor/quantize.h"

#include <cstdint>
#include <cstring>

#include "base/check.h"
#include "tensor/bf16.h"
#include "tensor/half.h"
#include "tensor/quant_q4_0.h"
#include "tensor/quant_q4_1.h"
#include "tensor/quant_q4_k.h"
#include "tensor/quant_q5_0.h"
#include "tensor/quant_q5_1.h"
#include "tensor/quant_q5_k.h"
#include "tensor/quant_q6_k.h"
#include "tensor/quant_q8_0.h"

namespace tandem {
namespace {

template <typename Block>
void decode_blocks(const std::byte* row, float* out, size_t count) {
  const Block* blocks = reinterpret_cast<const Block*>(row);
  for (size_t i = 0; i < count / Block::kCount; ++i) decode(blocks[i], out + i * Block::kCount);
}

template <typename Block>
void encode_blocks(const float* in, std::byte* row, size_t count) {
  Block* blocks = reinterpret_cast<Block*>(row);
  for (size_t i = 0; i < count / Block::kCount; ++i) encode(in + i * Block::kCount, blocks[i]);
}

template <typename Stored, typename Convert>
void decode_plain(const std::byte* row, float* out, size_t count, Convert convert) {
  const Stored* values = reinterpret_cast<const Stored*>(row);
  for (size_t i = 0; i < count; ++i) out[i] = convert(values[i]);
}

template <typename Stored, typename Convert>
void encode_plain(const float* in, std::byte* row, size_t count, Convert convert) {
  Stored* values = reinterpret_cast<Stored*>(row);
  for (size_t i = 0; i < count; ++i) values[i] = convert(in[i]);
}

void check_whole_blocks(DType dtype, size_t count) {
  TANDEM_CHECK(count % dtype_info(dtype).block_count == 0, "%zu elements are no whole blocks of %u",
               count, dtype_info(dtype).block_count);
}

}  // namespace

void dequantize_row(DType dtype, const std::byte* row, float* out, size_t count) {
  check_whole_blocks(dtype, count);
  const auto widen = [](auto value) { return static_cast<float>(value); };
  switch (dtype) {
    case DType::kF32: std::memcpy(out, row, count * sizeof(float)); return;
    case DType::kF16: return decode_plain<uint16_t>(row, out, count, f16_to_f32);
    case DType::kBF16: return decode_plain<uint16_t>(row, out, count, bf16_to_f32);
    case DType::kI8: return decode_plain<int8_t>(row, out, count, widen);
    case DType::kI32: return decode_plain<int32_t>(row, out, count, widen);
    case DType::kQ4_0: return decode_blocks<BlockQ4_0>(row, out, count);
    case DType::kQ4_1: return decode_blocks<BlockQ4_1>(row, out, count);
    case DType::kQ5_0: return decode_blocks<BlockQ5_0>(row, out, count);
    case DType::kQ5_1: return decode_blocks<BlockQ5_1>(row, out, count);
    case DType::kQ8_0: return decode_blocks<BlockQ8_0>(row, out, count);
    case DType::kQ4K: return decode_blocks<BlockQ4K>(row, out, count);
    case DType::kQ5K: return decode_blocks<BlockQ5K>(row, out, count);
    case DType::kQ6K: return decode_blocks<BlockQ6K>(row, out, count);
  }
}

bool can_quantize(DType dtype) {
  switch (dtype) {
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
    case DType::kQ4_0:
    case DType::kQ5_0:
    case DType::kQ8_0:
    case DType::kQ4K:
    case DType::kQ6K: return true;
    default: return false;
  }
}

void quantize_row(DType dtype, const float* in, std::byte* out, size_t count) {
  check_whole_blocks(dtype, count);
  switch (dtype) {
    case DType::kF32: std::memcpy(out, in, count * sizeof(float)); return;
    case DType::kF16: return encode_plain<uint16_t>(in, out, count, f32_to_f16);
    case DType::kBF16: return encode_plain<uint16_t>(in, out, count, f32_to_bf16);
    case DType::kQ4_0: return encode_blocks<BlockQ4_0>(in, out, count);
    case DType::kQ5_0: return encode_blocks<BlockQ5_0>(in, out, count);
    case DType::kQ8_0: return encode_blocks<BlockQ8_0>(in, out, count);
    case DType::kQ4K: return encode_blocks<BlockQ4K>(in, out, count);
    case DType::kQ6K: return encode_blocks<BlockQ6K>(in, out, count);
    default: TANDEM_CHECK(can_quantize(dtype), "no encoder for %s", dtype_info(dtype).name.data());
  }
}

}  // namespace tandem
