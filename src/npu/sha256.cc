// SPDX-License-Identifier: Apache-2.0
#include "npu/sha256.h"

#include <fmt/format.h>
#include <nettle/sha2.h>

#include <cstdint>
#include <iterator>

namespace tandem::npu {

Digest sha256(std::span<const std::byte> bytes) {
  sha256_ctx context;
  sha256_init(&context);
  sha256_update(&context, bytes.size(), reinterpret_cast<const uint8_t*>(bytes.data()));
  Digest digest;
  sha256_digest(&context, digest.size(), reinterpret_cast<uint8_t*>(digest.data()));
  return digest;
}

std::string to_hex(const Digest& digest) {
  std::string text;
  for (const std::byte byte : digest)
    fmt::format_to(std::back_inserter(text), "{:02x}", static_cast<unsigned>(byte));
  return text;
}

}  // namespace tandem::npu
