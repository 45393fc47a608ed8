// What lies where the hardware expects a PDI when no compiler has made one: the design's own text,
// for the emulator. The kernel driver never gets to see it (see loader.h).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tandem::npu {

//   0  8 bytes   "TNDMAIE\0"
//   8  u32       version, 1
//  12  u32       size of the text in bytes
//  16  32 bytes  SHA-256 of the text
//  48  ...       AIE-dialect text
std::vector<std::byte> pack_text(std::string_view text);

bool is_text_container(std::span<const std::byte> bytes);

// The text. Throws kInvalidFile when magic, version, size or hash is wrong. Bytes after the text
// (a buffer's padding) are ignored.
std::string unpack_text(std::span<const std::byte> bytes);

}  // namespace tandem::npu
