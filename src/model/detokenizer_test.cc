// SPDX-License-Identifier: Apache-2.0
#include "model/detokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/test_vocabulary.h"
#include "model/utf8.h"

namespace tandem {
namespace {

class DetokenizerTest : public testing::Test {
 protected:
  // What each byte gives, and what is left at the end, as one text.
  std::string decode_bytes(std::string_view bytes) const {
    std::vector<int32_t> ids;
    for (const char byte : bytes) ids.push_back(byte_ + static_cast<uint8_t>(byte));
    return decode(tokenizer_, ids);
  }

  TestVocabulary test_;
  int32_t byte_ = test_.add_bytes();
  int32_t hello_ = test_.add_normal("▁Hello▁▁you", -1);
  int32_t newline_ = test_.add_user_defined("\n");
  int32_t unused_ = test_.add("[PAD]", PieceType::kUnused);
  Tokenizer tokenizer_{test_.vocabulary};
};

TEST_F(DetokenizerTest, WritesMarksAsSpaces) {
  Detokenizer detokenizer(tokenizer_);
  EXPECT_EQ(detokenizer.feed(hello_), " Hello  you");
  EXPECT_EQ(detokenizer.feed(newline_), "\n");
  EXPECT_EQ(detokenizer.feed(byte_ + 'x'), "x");
}

TEST_F(DetokenizerTest, HoldsACharacterBackUntilItIsWhole) {
  Detokenizer detokenizer(tokenizer_);
  EXPECT_EQ(detokenizer.feed(byte_ + 0xF0), "");
  EXPECT_EQ(detokenizer.feed(byte_ + 0x9F), "");
  EXPECT_EQ(detokenizer.feed(byte_ + 0x98), "");
  EXPECT_EQ(detokenizer.feed(byte_ + 0x80), "\U0001F600");
  EXPECT_EQ(detokenizer.flush(), "");
}

TEST_F(DetokenizerTest, GivesUpOnACharacterThatTextInterrupts) {
  Detokenizer detokenizer(tokenizer_);
  EXPECT_EQ(detokenizer.feed(byte_ + 0xE2), "");
  EXPECT_EQ(detokenizer.feed(byte_ + 0x96), "");
  EXPECT_EQ(detokenizer.feed(newline_), "\uFFFD\n");
}

TEST_F(DetokenizerTest, FlushesAnUnfinishedCharacterOnce) {
  Detokenizer detokenizer(tokenizer_);
  EXPECT_EQ(detokenizer.feed(byte_ + 0xE2), "");
  EXPECT_EQ(detokenizer.flush(), "\uFFFD");
  EXPECT_EQ(detokenizer.flush(), "");
  EXPECT_EQ(detokenizer.feed(byte_ + 'a'), "a");
}

// The Unicode Standard, section 3.9, table "U+FFFD for truncated sequences" and its neighbours.
TEST_F(DetokenizerTest, ReplacesWhatIsNotUtf8AsUnicodeRecommends) {
  EXPECT_EQ(decode_bytes("a\xF1\x80\x80\xE1\x80\xC2"
                         "b\x80"
                         "c\x80\xBF"
                         "d"),
            "a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd");
  EXPECT_EQ(decode_bytes("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82"
                         "A"),
            "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA");
  EXPECT_EQ(decode_bytes("\xED\xA0\x80\xF4\x91"
                         "A"),
            "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA");
}

TEST_F(DetokenizerTest, HidesControlTokensUnlessAsked) {
  const std::vector<int32_t> ids = {2, 4, byte_ + 'a', 3, unused_, 5};
  EXPECT_EQ(decode(tokenizer_, ids), "a");
  EXPECT_EQ(decode(tokenizer_, ids, ControlTokens::kShow),
            "<bos><start_of_turn>a<unk>[PAD]<end_of_turn>");
}

TEST_F(DetokenizerTest, GivesNothingForIdsBeyondTheVocabulary) {
  const auto size = static_cast<int32_t>(tokenizer_.vocab_size());
  EXPECT_EQ(decode(tokenizer_, std::vector<int32_t>{size, byte_ + 'a', -1, size + 63}), "a");
}

TEST_F(DetokenizerTest, GivesOnlyWholeCharactersWhateverComes) {
  std::mt19937_64 random = test_random();
  Detokenizer detokenizer(tokenizer_);
  for (int i = 0; i < 20'000; ++i) {
    const auto id = static_cast<int32_t>(random() % tokenizer_.vocab_size());
    ASSERT_TRUE(is_valid_utf8(detokenizer.feed(id))) << i;
  }
}

}  // namespace
}  // namespace tandem
