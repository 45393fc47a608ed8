// SPDX-License-Identifier: Apache-2.0
#include "support/random_weights.h"

#include <charconv>
#include <cstring>
#include <string>

#include "base/env.h"
#include "base/error.h"
#include "tensor/half.h"
#include "tensor/quantize.h"

namespace tandem {
namespace {

bool has_minimum(DType dtype) {
  return dtype == DType::kQ4_1 || dtype == DType::kQ5_1 || dtype == DType::kQ4K ||
         dtype == DType::kQ5K;
}

}  // namespace

uint32_t random_seed() {
  const std::string text = env("TANDEM_SEED").value_or("1");
  uint32_t seed = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seed);
  if (error != std::errc() || end != text.data() + text.size())
    throw Error(ErrorCode::kUsage, "TANDEM_SEED=" + text + " is not a number");
  return seed;
}

std::vector<std::byte> random_weights(DType dtype, size_t count, std::mt19937& random) {
  std::vector<std::byte> bytes(dtype_size(dtype, count));
  if (!is_quantized(dtype)) {
    std::normal_distribution<float> values(0, 0.02f);
    std::vector<float> floats(count);
    for (float& v : floats) v = values(random);
    quantize_row(dtype, floats.data(), bytes.data(), count);
    return bytes;
  }
  for (std::byte& b : bytes) b = static_cast<std::byte>(random() & 0xFF);
  std::uniform_real_distribution<float> scales(-0.02f, 0.02f);
  const auto put_scale = [&](size_t at) {
    const uint16_t half = f32_to_f16(scales(random));
    std::memcpy(&bytes[at], &half, sizeof(half));
  };
  // The scale leads a block, but for Q6_K where it ends it; a minimum follows the scale.
  const size_t size = dtype_info(dtype).block_size;
  for (size_t at = 0; at < bytes.size(); at += size) {
    put_scale(dtype == DType::kQ6K ? at + size - 2 : at);
    if (has_minimum(dtype)) put_scale(at + 2);
  }
  return bytes;
}

}  // namespace tandem
