// SPDX-License-Identifier: Apache-2.0
#include "model/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <sstream>

#include "base/json_value.h"
#include "model/detokenizer.h"
#include "model/test_vocabulary.h"

namespace tandem {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Tokenizer, MergesTheHighestScoreFirst) {
  TestVocabulary test;
  test.add_bytes();
  const int32_t a = test.add_normal("a", -10);
  test.add_normal("b", -11);
  test.add_normal("c", -12);
  test.add_normal("ab", -2);
  const int32_t bc = test.add_normal("bc", -1);
  EXPECT_THAT(Tokenizer(test.vocabulary).encode("abc"), ElementsAre(a, bc));
}

TEST(Tokenizer, MergesTheLeftmostOnTies) {
  TestVocabulary test;
  test.add_bytes();
  const int32_t a = test.add_normal("a", -10);
  const int32_t aa = test.add_normal("aa", -1);
  EXPECT_THAT(Tokenizer(test.vocabulary).encode("aaaaa"), ElementsAre(aa, aa, a));
}

TEST(Tokenizer, WritesSpacesAsTheirMark) {
  TestVocabulary test;
  test.add_bytes();
  const int32_t a = test.add_normal("a", -10);
  const int32_t space = test.add_normal("▁", -11);
  const int32_t space_a = test.add_normal("▁a", -1);
  EXPECT_THAT(Tokenizer(test.vocabulary).encode("a a "), ElementsAre(a, space_a, space));
  test.vocabulary.add_space_prefix = true;
  EXPECT_THAT(Tokenizer(test.vocabulary).encode("a a "), ElementsAre(space_a, space_a, space));
  EXPECT_THAT(Tokenizer(test.vocabulary).encode(""), IsEmpty());
}

TEST(Tokenizer, FallsBackToBytes) {
  TestVocabulary test;
  const int32_t byte = test.add_bytes();
  const int32_t a = test.add_normal("a", -1);
  const Tokenizer tokenizer(test.vocabulary);
  EXPECT_THAT(tokenizer.encode("aé"), ElementsAre(a, byte + 0xC3, byte + 0xA9));
  EXPECT_THAT(tokenizer.encode("\xFF\xC3"), ElementsAre(byte + 0xFF, byte + 0xC3));
  EXPECT_THAT(tokenizer.encode(std::string_view("\0a", 2)), ElementsAre(byte, a));
}

TEST(Tokenizer, DoesNotReadTheSpellingOfAByte) {
  TestVocabulary test;
  const int32_t byte = test.add_bytes();
  EXPECT_THAT(Tokenizer(test.vocabulary).encode("<0x41>"),
              ElementsAre(byte + '<', byte + '0', byte + 'x', byte + '4', byte + '1', byte + '>'));
}

TEST(Tokenizer, MapsToUnknownWithoutBytePieces) {
  TestVocabulary test;
  const int32_t a = test.add_normal("a", -1);
  EXPECT_THAT(Tokenizer(test.vocabulary).encode("axa"), ElementsAre(a, 3, a));
}

TEST(Tokenizer, NeverProducesUnusedPieces) {
  TestVocabulary test;
  const int32_t byte = test.add_bytes();
  test.add("ab", PieceType::kUnused, -1);
  EXPECT_THAT(Tokenizer(test.vocabulary).encode("ab"), ElementsAre(byte + 'a', byte + 'b'));
}

TEST(Tokenizer, MatchesUserDefinedPiecesWholeAndLongestFirst) {
  TestVocabulary test;
  test.add_bytes();
  const int32_t newline = test.add_user_defined("\n");
  const int32_t two_newlines = test.add_user_defined("\n\n");
  const int32_t bold = test.add_user_defined("<b>");
  const int32_t a = test.add_normal("a", -10);
  test.add_normal("<", -11);
  test.add_normal("b", -12);
  test.add_normal("ab", -1);
  test.add_normal("<b", -2);
  test.add_normal("\na", -3);
  const Tokenizer tokenizer(test.vocabulary);
  EXPECT_THAT(tokenizer.encode("\n\n\na<b>"), ElementsAre(two_newlines, newline, a, bold));
}

// Converters write runs of spaces with U+2581 or with spaces.
TEST(Tokenizer, MatchesRunsOfSpacesWhole) {
  for (const char* spelling : {"▁▁", "  "}) {
    TestVocabulary test;
    test.add_bytes();
    const int32_t a = test.add_normal("a", -10);
    const int32_t space = test.add_normal("▁", -11);
    const int32_t space_a = test.add_normal("▁a", -1);
    const int32_t two_spaces = test.add_user_defined(spelling);
    const Tokenizer tokenizer(test.vocabulary);
    EXPECT_THAT(tokenizer.encode("  a"), ElementsAre(two_spaces, a));
    EXPECT_THAT(tokenizer.encode("   a"), ElementsAre(two_spaces, space_a));
    EXPECT_THAT(tokenizer.encode(" ▁ "), ElementsAre(two_spaces, space));
  }
}

TEST(Tokenizer, MergesUserDefinedPiecesThatWereLearned) {
  TestVocabulary test;
  test.add_bytes();
  for (const char* piece : {"t", "h", "▁"}) test.add_normal(piece, -10);
  const int32_t space_t = test.add_user_defined("▁t");
  const int32_t space_th = test.add_normal("▁th", -1);
  EXPECT_THAT(Tokenizer(test.vocabulary).encode(" th t"), ElementsAre(space_th, space_t));
}

TEST(Tokenizer, ReadsControlTokensOnlyWhenAsked) {
  TestVocabulary test;
  const int32_t byte = test.add_bytes();
  const Tokenizer tokenizer(test.vocabulary);
  const std::string text = "<end_of_turn>\n<unk>";
  const std::vector<int32_t> plain = tokenizer.encode(text);
  ASSERT_EQ(plain.size(), text.size());
  for (size_t i = 0; i < text.size(); ++i) EXPECT_EQ(plain[i], byte + text[i]);
  EXPECT_THAT(tokenizer.encode(text, {.parse_special = true}), ElementsAre(5, byte + '\n', 3));
}

TEST(Tokenizer, KnowsGemmasControlTokensWhateverTheirType) {
  TestVocabulary test;
  test.add_bytes();
  test.vocabulary.types[4] = PieceType::kUserDefined;
  test.vocabulary.types[5] = PieceType::kNormal;
  const Tokenizer tokenizer(test.vocabulary);
  EXPECT_EQ(tokenizer.type(4), PieceType::kControl);
  EXPECT_EQ(tokenizer.type(5), PieceType::kControl);
  EXPECT_EQ(tokenizer.encode("<start_of_turn>").size(), std::string("<start_of_turn>").size());
}

TEST(Tokenizer, AddsBosOnce) {
  TestVocabulary test;
  const int32_t byte = test.add_bytes();
  const Tokenizer tokenizer(test.vocabulary);
  EXPECT_THAT(tokenizer.encode("a", {.add_bos = true}), ElementsAre(2, byte + 'a'));
  EXPECT_THAT(tokenizer.encode("<bos>a", {.add_bos = true, .parse_special = true}),
              ElementsAre(2, byte + 'a'));
  EXPECT_THAT(tokenizer.encode("", {.add_bos = true}), ElementsAre(2));
}

TEST(Tokenizer, FindsSpecialTokensByNameWhenTheFileLeavesThemOut) {
  TestVocabulary test;
  test.add_bytes();
  test.vocabulary.bos = test.vocabulary.eos = test.vocabulary.unknown = kNoToken;
  const Tokenizer tokenizer(test.vocabulary);
  EXPECT_EQ(tokenizer.special().bos, 2);
  EXPECT_EQ(tokenizer.special().eos, 1);
  EXPECT_EQ(tokenizer.special().unknown, 3);
  EXPECT_EQ(tokenizer.special().start_of_turn, 4);
  EXPECT_EQ(tokenizer.special().end_of_turn, 5);
  EXPECT_THAT(tokenizer.special().stop, ElementsAre(1, 5));
}

TEST(Tokenizer, StopsAtEndOfTextAndOfTurnWhicheverTheFileNames) {
  TestVocabulary test;
  test.add_bytes();
  test.vocabulary.eos = 5;
  const Tokenizer tokenizer(test.vocabulary);
  EXPECT_TRUE(tokenizer.is_stop(1));
  EXPECT_TRUE(tokenizer.is_stop(5));
  EXPECT_FALSE(tokenizer.is_stop(2));
  EXPECT_EQ(tokenizer.special().stop.size(), 2U);
}

TEST(Tokenizer, RefusesVocabulariesThatContradictThemselves) {
  const auto refused = [](auto change) {
    TestVocabulary test;
    test.add_bytes();
    change(test);
    EXPECT_EQ(thrown_code([&] { Tokenizer tokenizer(test.vocabulary); }), ErrorCode::kInvalidFile);
  };
  refused([](TestVocabulary& t) { t.vocabulary.scores.pop_back(); });
  refused([](TestVocabulary& t) { t.vocabulary.types.pop_back(); });
  refused([](TestVocabulary& t) { t.vocabulary = Vocabulary(); });
  refused([](TestVocabulary& t) { t.vocabulary.scores[9] = std::nanf(""); });
  refused([](TestVocabulary& t) { t.vocabulary.bos = 5000; });
  refused([](TestVocabulary& t) { t.vocabulary.unknown = -2; });
  refused([](TestVocabulary& t) { t.add("<0xZZ>", PieceType::kByte); });
  refused([](TestVocabulary& t) {  // no byte 0 and nothing for unknown text
    t.vocabulary.types[6] = PieceType::kUnused;
    t.vocabulary.pieces[3] = "x";
    t.vocabulary.unknown = kNoToken;
  });
  refused([](TestVocabulary& t) {  // a text is to start with a token that does not exist
    t.vocabulary.pieces[2] = "x";
    t.vocabulary.bos = kNoToken;
  });
}

// The definition, step by step: merge the best pair of the whole text until there is none.
std::vector<std::string> merge_naively(const std::string& text,
                                       const std::map<std::string, float>& scores) {
  std::vector<std::string> symbols;
  for (const char c : text) symbols.emplace_back(1, c);
  while (true) {
    float best = -std::numeric_limits<float>::infinity();
    size_t best_at = symbols.size();
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto found = scores.find(symbols[i] + symbols[i + 1]);
      if (found == scores.end() || found->second <= best) continue;
      best = found->second;
      best_at = i;
    }
    if (best_at == symbols.size()) return symbols;
    symbols[best_at] += symbols[best_at + 1];
    symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(best_at) + 1);
  }
}

TEST(Tokenizer, EqualsTheDefinitionOnRandomVocabularies) {
  std::mt19937_64 random = test_random();
  const auto random_text = [&](size_t size) {
    std::string text;
    while (text.size() < size) text += static_cast<char>('a' + random() % 4);
    return text;
  };
  for (int round = 0; round < 200; ++round) {
    TestVocabulary test;
    test.add_bytes();
    std::map<std::string, float> scores;
    for (const char* letter : {"a", "b", "c", "d"}) scores[letter] = -100;
    for (int i = 0; i < 12; ++i) scores[random_text(2 + random() % 4)] = -float(random() % 8);
    for (const auto& [piece, score] : scores) test.add_normal(piece, score);
    const Tokenizer tokenizer(test.vocabulary);
    for (int i = 0; i < 10; ++i) {
      const std::string text = random_text(1 + random() % 40);
      std::vector<std::string> pieces;
      for (const int32_t id : tokenizer.encode(text)) pieces.emplace_back(tokenizer.piece(id));
      EXPECT_EQ(pieces, merge_naively(text, scores)) << text;
    }
  }
}

TEST(Tokenizer, TakesLongTextWithoutASpace) {
  const Tokenizer tokenizer = story_tokenizer();
  for (const char* part : {"thequickbrownfox", "a", " ", "\n", "\xF0\x9F\x98\x80"}) {
    std::string text;
    while (text.size() < 100'000) text += part;
    EXPECT_TRUE(decode(tokenizer, tokenizer.encode(text)) == text) << part;
  }
}

// The expected ids are those of the tokenizer the model was trained with.
TEST(Tokenizer, EncodesForTheStoryModel) {
  const Tokenizer tokenizer = story_tokenizer();
  const EncodeOptions options = {.add_bos = true};
  EXPECT_THAT(tokenizer.encode("Once upon a time, there was a little", options),
              ElementsAre(2, 891, 635, 267, 504, 8147, 440, 310, 267, 461));
  EXPECT_THAT(tokenizer.encode("The naïve café owner — señor Muñoz — smiled 😀 and said", options),
              ElementsAre(2, 435, 303, 8131, 204, 184, 322, 2540, 8146, 204, 178, 4088, 8128, 235,
                          137, 157, 377, 204, 186, 296, 371, 8140, 204, 186, 8132, 8182, 8128, 235,
                          137, 157, 1193, 8128, 249, 168, 161, 137, 280, 357));
  EXPECT_THAT(tokenizer.encode("1 very big tree.\n\nTom said,"),
              ElementsAre(8191, 452, 622, 919, 8148, 7, 2015, 357, 8147));
}

TEST(Tokenizer, EqualsThePublishedGemma3Tokenizer) {
  TANDEM_FIND_ASSET(vocabulary, "models/gemma3-vocab.gguf");
  TANDEM_FIND_ASSET(reference, "reference/gemma3-tokens.jsonl");
  const Tokenizer tokenizer(read_vocabulary(GgufFile::open(vocabulary)));
  EXPECT_EQ(tokenizer.vocab_size(), 262144U);
  EXPECT_THAT(tokenizer.special().stop, ElementsAre(1, 106));
  std::istringstream lines(read_text(reference));
  size_t rows = 0;
  for (std::string line; std::getline(lines, line); ++rows) {
    const Json row = parse_json(line, reference.string());
    EXPECT_EQ(tokenizer.encode(row["text"].get<std::string>(), {.parse_special = true}),
              row["ids"].get<std::vector<int32_t>>())
        << row["text"];
  }
  EXPECT_EQ(rows, 300U);
}

TEST(Tokenizer, GivesBackTheTextOnGemma3sVocabulary) {
  TANDEM_FIND_ASSET(vocabulary, "models/gemma3-vocab.gguf");
  TANDEM_FIND_ASSET(heldout, "reference/heldout.txt");
  const Tokenizer tokenizer(read_vocabulary(GgufFile::open(vocabulary)));
  const std::string text = read_text(heldout);
  EXPECT_TRUE(decode(tokenizer, tokenizer.encode(text)) == text);
}

}  // namespace
}  // namespace tandem
