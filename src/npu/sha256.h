// SHA-256 of bytes: the names of cached artefacts and the proof that they are unchanged.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace tandem::npu {

using Digest = std::array<std::byte, 32>;

Digest sha256(std::span<const std::byte> bytes);

// 64 lower-case hexadecimal digits.
std::string to_hex(const Digest& digest);

inline std::string sha256_hex(std::span<const std::byte> bytes) { return to_hex(sha256(bytes)); }
inline std::string sha256_hex(std::string_view text) {
  return sha256_hex(std::as_bytes(std::span(text.data(), text.size())));
}

}  // namespace tandem::npu
