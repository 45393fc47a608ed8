// Compares the tokenizer with the SentencePiece library, given the same vocabulary.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sentencepiece_processor.h>

#include <array>
#include <bit>
#include <sstream>

#include "model/test_vocabulary.h"

namespace tandem {
namespace {

// Just enough of the protocol-buffer wire format to write a ModelProto: sentencepiece_model.proto.
class ProtoWriter {
 public:
  void add_varint(uint32_t field, uint64_t value) {
    append_varint(field << 3);
    append_varint(value);
  }
  void add_bytes(uint32_t field, std::string_view value) {
    append_varint(field << 3 | 2);
    append_varint(value.size());
    bytes_ += value;
  }
  void add_float(uint32_t field, float value) {
    append_varint(field << 3 | 5);
    const auto bits = std::bit_cast<uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) bytes_ += static_cast<char>(bits >> shift);
  }
  const std::string& bytes() const { return bytes_; }

 private:
  void append_varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }
  std::string bytes_;
};

// `learned` is typed user-defined in the story model although its vocabulary was trained with it.
std::string model_proto(const Vocabulary& vocabulary, std::string_view learned) {
  ProtoWriter model;
  for (size_t id = 0; id < vocabulary.pieces.size(); ++id) {
    ProtoWriter piece;
    piece.add_bytes(1, vocabulary.pieces[id]);
    piece.add_float(2, vocabulary.scores[id]);
    const PieceType type =
        vocabulary.pieces[id] == learned ? PieceType::kNormal : vocabulary.types[id];
    piece.add_varint(3, static_cast<uint64_t>(type));
    model.add_bytes(1, piece.bytes());
  }
  ProtoWriter trainer;
  trainer.add_varint(3, 2);   // model_type: BPE
  trainer.add_varint(35, 1);  // byte_fallback
  trainer.add_varint(40, static_cast<uint64_t>(vocabulary.unknown));
  trainer.add_varint(41, static_cast<uint64_t>(vocabulary.bos));
  trainer.add_varint(42, static_cast<uint64_t>(vocabulary.eos));
  trainer.add_varint(43, static_cast<uint64_t>(vocabulary.pad));
  model.add_bytes(2, trainer.bytes());
  ProtoWriter normalizer;
  normalizer.add_bytes(1, "identity");
  normalizer.add_varint(3, 0);  // add_dummy_prefix
  normalizer.add_varint(4, 0);  // remove_extra_whitespaces
  normalizer.add_varint(5, 1);  // escape_whitespaces
  model.add_bytes(3, normalizer.bytes());
  return model.bytes();
}

void append_utf8(uint32_t code, std::string& text) {
  if (code < 0x80) {
    text += static_cast<char>(code);
  } else if (code < 0x800) {
    text += static_cast<char>(0xC0 | code >> 6);
    text += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    text += static_cast<char>(0xE0 | code >> 12);
    text += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    text += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    text += static_cast<char>(0xF0 | code >> 18);
    text += static_cast<char>(0x80 | (code >> 12 & 0x3F));
    text += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    text += static_cast<char>(0x80 | (code & 0x3F));
  }
}

// Strings of everything that is treated in a way of its own, and pieces in any order.
class RandomText {
 public:
  explicit RandomText(const Vocabulary& vocabulary) : vocabulary_(vocabulary) {}

  std::string next() {
    std::string text;
    for (size_t parts = 1 + pick(12); parts > 0; --parts) append_part(text);
    return text;
  }

 private:
  size_t pick(size_t count) { return random_() % count; }

  void append_part(std::string& text) {
    constexpr std::array<std::string_view, 12> kSnippets = {
        "<b>",       "</b>",         "<end_of_turn>", "<bos>", "<0x41>",     "▁",
        "<unused7>", "[multimodal]", "> </",          "don't", "1234567890", "http://x.org/?a=b"};
    switch (pick(7)) {
      case 0: text.append(pick(40), ' '); break;
      case 1: text.append(pick(35), pick(2) == 0 ? '\n' : '\t'); break;
      case 2: text += kSnippets[pick(kSnippets.size())]; break;
      case 3: append_utf8(code_point(), text); break;
      case 4:
        for (size_t i = pick(12); i > 0; --i) text += static_cast<char>(1 + pick(127));
        break;
      default: {
        const size_t id = pick(vocabulary_.pieces.size());
        if (vocabulary_.types[id] == PieceType::kNormal) text += vocabulary_.pieces[id];
      }
    }
  }

  uint32_t code_point() {
    const auto code = static_cast<uint32_t>(1 + pick(0x1FFFF));
    return code >= 0xD800 && code < 0xE000 ? 0xFFFD : code;
  }

  const Vocabulary& vocabulary_;
  std::mt19937_64 random_ = test_random();
};

void compare(const std::filesystem::path& path, std::string_view learned) {
  const GgufFile file = GgufFile::open(path);
  const Vocabulary vocabulary = read_vocabulary(file);
  const Tokenizer tokenizer(vocabulary);
  sentencepiece::SentencePieceProcessor oracle;
  const auto status = oracle.LoadFromSerializedProto(model_proto(vocabulary, learned));
  ASSERT_TRUE(status.ok()) << status.ToString();
  RandomText random(vocabulary);
  size_t ids = 0;
  for (int i = 0; i < 10'000; ++i) {
    const std::string text = random.next();
    const std::vector<int> expected = oracle.EncodeAsIds(text);
    ids += expected.size();
    ASSERT_EQ(tokenizer.encode(text), expected) << "text " << i << ": " << text;
  }
  EXPECT_GT(ids, 100'000U);
}

TEST(SentencePiece, AgreesOnTheStoryVocabulary) { compare("models/story-14m-q4_0.gguf", "▁t"); }

TEST(SentencePiece, AgreesOnGemma3sVocabulary) {
  TANDEM_FIND_ASSET(vocabulary, "models/gemma3-vocab.gguf");
  compare(vocabulary, "");
}

}  // namespace
}  // namespace tandem
