// SPDX-License-Identifier: Apache-2.0
#include "model/utf8.h"

#include <gtest/gtest.h>

namespace tandem {
namespace {

struct Case {
  const char* what;
  std::string_view text;
  Utf8Kind kind;
  size_t length;
};

// Boundaries of RFC 3629, section 4.
constexpr Case kCases[] = {
    {"ASCII", "a", Utf8Kind::kCharacter, 1},
    {"NUL", {"\0", 1}, Utf8Kind::kCharacter, 1},
    {"U+0080", "\xC2\x80", Utf8Kind::kCharacter, 2},
    {"U+07FF and more", "\xDF\xBFx", Utf8Kind::kCharacter, 2},
    {"U+0800", "\xE0\xA0\x80", Utf8Kind::kCharacter, 3},
    {"U+D7FF", "\xED\x9F\xBF", Utf8Kind::kCharacter, 3},
    {"U+FFFF", "\xEF\xBF\xBF", Utf8Kind::kCharacter, 3},
    {"U+10000", "\xF0\x90\x80\x80", Utf8Kind::kCharacter, 4},
    {"U+10FFFF", "\xF4\x8F\xBF\xBF", Utf8Kind::kCharacter, 4},
    {"one of two bytes", "\xC2", Utf8Kind::kIncomplete, 1},
    {"two of three bytes", "\xE2\x96", Utf8Kind::kIncomplete, 2},
    {"three of four bytes", "\xF0\x9F\x98", Utf8Kind::kIncomplete, 3},
    {"continuation", "\x80", Utf8Kind::kInvalid, 1},
    {"overlong slash", "\xC0\xAF", Utf8Kind::kInvalid, 1},
    {"overlong in three", "\xE0\x9F\xBF", Utf8Kind::kInvalid, 1},
    {"overlong in four", "\xF0\x8F\xBF\xBF", Utf8Kind::kInvalid, 1},
    {"surrogate", "\xED\xA0\x80", Utf8Kind::kInvalid, 1},
    {"above U+10FFFF", "\xF4\x90\x80\x80", Utf8Kind::kInvalid, 1},
    {"FF", "\xFF", Utf8Kind::kInvalid, 1},
    {"interrupted after two", "\xE2\x96x", Utf8Kind::kInvalid, 2},
    {"interrupted after three", "\xF0\x9F\x98\xC2", Utf8Kind::kInvalid, 3},
};

TEST(Utf8, FindsTheFirstSequence) {
  for (const Case& c : kCases) {
    const Utf8Sequence sequence = first_utf8_sequence(c.text);
    EXPECT_EQ(sequence.kind, c.kind) << c.what;
    EXPECT_EQ(sequence.length, c.length) << c.what;
  }
}

TEST(Utf8, ATextIsValidWhenAllOfItIs) {
  EXPECT_TRUE(is_valid_utf8(""));
  EXPECT_TRUE(is_valid_utf8("na\xC3\xAFve \xF0\x9F\x98\x80"));
  EXPECT_FALSE(is_valid_utf8("abc\xC3"));
  EXPECT_FALSE(is_valid_utf8("abc\xFFxyz"));
}

}  // namespace
}  // namespace tandem
