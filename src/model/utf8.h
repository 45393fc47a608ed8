// UTF-8 as RFC 3629 defines it: finding characters, and the bytes that are not one.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace tandem {

enum class Utf8Kind : uint8_t {
  kCharacter,   // a whole character
  kIncomplete,  // the start of a character, cut off by the end of the text
  kInvalid,     // bytes that no character has in this order
};

struct Utf8Sequence {
  Utf8Kind kind;
  // Bytes it takes, 1 to 4. Of invalid text: as many as a decoder replaces by one U+FFFD, the
  // "maximal subpart" of the Unicode Standard, section 3.9.
  size_t length;
};

// What non-empty `text` starts with.
Utf8Sequence first_utf8_sequence(std::string_view text);

bool is_valid_utf8(std::string_view text);

}  // namespace tandem
