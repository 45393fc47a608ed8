// SPDX-License-Identifier: Apache-2.0
#include "model/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"

namespace tandem {
namespace {

constexpr size_t kMaxTextSize = size_t{1} << 30;  // tripled by U+2581, offsets still fit 32 bits

// Control tokens of Gemma 3 whatever a file calls them: some converters list them as user-defined,
// and then any text could end a turn.
constexpr std::array<std::string_view, 7> kControlPieces = {
    "<pad>",         "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>",
    "<end_of_image>"};

bool is_control_piece(std::string_view piece) {
  return piece.substr(0, 1) == "<" &&
         std::find(kControlPieces.begin(), kControlPieces.end(), piece) != kControlPieces.end();
}

// A user-defined piece is spelled as people type it, so one that mixes U+2581 with other
// characters was learned, and merges like any normal piece; only a run of U+2581 is typed, as a
// run of spaces.
bool is_matched_whole(std::string_view piece) {
  if (piece.find(kSpaceMark) == std::string_view::npos) return true;
  while (piece.substr(0, kSpaceMark.size()) == kSpaceMark) piece.remove_prefix(kSpaceMark.size());
  return piece.empty();
}

size_t pair_index(char left, char right) {
  return size_t{256} * static_cast<uint8_t>(left) + static_cast<uint8_t>(right);
}

// Appends `text` with U+2581 for every space.
template <typename Bytes>
void append_normalised(std::string_view text, Bytes& bytes) {
  for (size_t space = text.find(' '); space != std::string_view::npos; space = text.find(' ')) {
    bytes.insert(bytes.end(), text.begin(), text.begin() + space);
    bytes.insert(bytes.end(), kSpaceMark.begin(), kSpaceMark.end());
    text.remove_prefix(space + 1);
  }
  bytes.insert(bytes.end(), text.begin(), text.end());
}

}  // namespace

Tokenizer::Tokenizer(const Vocabulary& vocabulary)
    : add_bos_(vocabulary.add_bos), add_space_prefix_(vocabulary.add_space_prefix) {
  copy_pieces(vocabulary);
  check_id(vocabulary.unknown);
  for (const int32_t id :
       {vocabulary.bos, vocabulary.eos, vocabulary.end_of_turn, vocabulary.pad}) {
    check_id(id);
    if (id != kNoToken) types_[static_cast<size_t>(id)] = PieceType::kControl;
  }
  index_pieces();
  resolve_special(vocabulary);
}

// In short: U+2581 for spaces, then user-defined pieces where they stand, then BPE for the rest in
// stretches that no merge can cross.
std::vector<int32_t> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  if (text.size() >= kMaxTextSize)
    throw Error(
        ErrorCode::kUsage,
        fmt::format("the text has {} bytes, more than can be encoded at once; split it into "
                    "parts of less than {}",
                    text.size(), kMaxTextSize));
  const std::string normalised = normalise(text);
  const std::string_view source = normalised;
  const PieceTrie& whole = options.parse_special ? whole_with_special_ : whole_;

  std::vector<int32_t> ids;
  ids.reserve(text.size() / 4 + 2);
  BpeEncoder bpe(rules_, source, ids);
  size_t begin = 0;
  for (size_t at = 0; at < source.size();) {
    const PieceTrie::Match match = whole.longest(source.substr(at));
    if (match.length > 0) {
      bpe.encode(begin, at);
      ids.push_back(match.id);
      at += match.length;
      begin = at;
      continue;
    }
    at += character_length(source.substr(at));
    if (at < source.size() && can_cut_between(source[at - 1], source[at])) {
      bpe.encode(begin, at);
      begin = at;
    }
  }
  bpe.encode(begin, source.size());
  if (options.add_bos && special_.bos != kNoToken && (ids.empty() || ids[0] != special_.bos))
    ids.insert(ids.begin(), special_.bos);
  return ids;
}

bool Tokenizer::is_stop(int32_t id) const {
  return std::find(special_.stop.begin(), special_.stop.end(), id) != special_.stop.end();
}

void Tokenizer::copy_pieces(const Vocabulary& vocabulary) {
  const size_t count = vocabulary.pieces.size();
  if (count == 0 || vocabulary.scores.size() != count || vocabulary.types.size() != count)
    throw Error(ErrorCode::kInvalidFile,
                fmt::format("the vocabulary has {} pieces, {} scores and {} types; it needs one of "
                            "each for every token",
                            count, vocabulary.scores.size(), vocabulary.types.size()));
  constexpr size_t kUsualPieceSize = 10;
  spellings_.reserve(count * kUsualPieceSize);
  std::vector<size_t> ends;
  ends.reserve(count);
  for (const std::string_view piece : vocabulary.pieces) {
    append_normalised(piece, spellings_);
    ends.push_back(spellings_.size());
  }
  pieces_.reserve(count);
  size_t begin = 0;
  for (const size_t end : ends) {
    pieces_.emplace_back(spellings_.data() + begin, end - begin);
    begin = end;
  }
  types_ = vocabulary.types;
  rules_.scores = vocabulary.scores;
  const auto nan = std::find_if(rules_.scores.begin(), rules_.scores.end(),
                                [](float score) { return std::isnan(score); });
  if (nan != rules_.scores.end())
    throw Error(ErrorCode::kInvalidFile,
                fmt::format("the score of token {} is not a number", nan - rules_.scores.begin()));
}

void Tokenizer::check_id(int32_t id) const {
  if (id == kNoToken) return;
  if (id < 0 || static_cast<size_t>(id) >= pieces_.size())
    throw Error(ErrorCode::kInvalidFile,
                fmt::format("a special token has id {}, but the vocabulary has {} tokens", id,
                            pieces_.size()));
}

void Tokenizer::index_pieces() {
  rules_.mergeable = PieceTable(pieces_);
  rules_.byte_ids.assign(256, kNoToken);
  neighbours_.assign(256 * 256, false);
  for (size_t id = 0; id < pieces_.size(); ++id) {
    if (pieces_[id].empty()) continue;
    if (is_control_piece(pieces_[id])) types_[id] = PieceType::kControl;
    index_piece(static_cast<int32_t>(id));
  }
}

void Tokenizer::index_piece(int32_t id) {
  const std::string_view spelling = piece(id);
  switch (type(id)) {
    case PieceType::kUserDefined:
      if (is_matched_whole(spelling)) {
        whole_.insert(spelling, id);
        whole_with_special_.insert(spelling, id);
        break;
      }
      [[fallthrough]];
    case PieceType::kNormal:
      rules_.mergeable.insert(id);
      for (size_t i = 1; i < spelling.size(); ++i)
        neighbours_[pair_index(spelling[i - 1], spelling[i])] = true;
      break;
    case PieceType::kControl:
    case PieceType::kUnknown: whole_with_special_.insert(spelling, id); break;
    case PieceType::kByte: {
      const std::optional<uint8_t> byte = byte_of_piece(spelling);
      if (!byte)
        throw Error(
            ErrorCode::kInvalidFile,
            fmt::format("token {} is a byte but spelled '{}', not like <0x0A>", id, spelling));
      rules_.byte_ids[*byte] = id;
      break;
    }
    case PieceType::kUnused: break;
  }
}

void Tokenizer::resolve_special(const Vocabulary& vocabulary) {
  const auto named = [&](std::string_view spelling) {
    const PieceTrie::Match match = whole_with_special_.longest(spelling);
    return match.length == spelling.size() ? match.id : kNoToken;
  };
  const auto given_or_named = [&](int32_t given, std::string_view spelling) {
    return given != kNoToken ? given : named(spelling);
  };
  special_.bos = given_or_named(vocabulary.bos, "<bos>");
  special_.eos = given_or_named(vocabulary.eos, "<eos>");
  special_.start_of_turn = named("<start_of_turn>");
  special_.end_of_turn = given_or_named(vocabulary.end_of_turn, "<end_of_turn>");
  special_.unknown = given_or_named(vocabulary.unknown, "<unk>");
  // Some files give `<end_of_turn>` as their end of text: both stop, whatever the file says.
  for (const int32_t id :
       {special_.eos, special_.end_of_turn, named("<eos>"), named("<end_of_turn>")})
    if (id != kNoToken && !is_stop(id)) special_.stop.push_back(id);

  rules_.unknown = special_.unknown;
  if (add_bos_ && special_.bos == kNoToken)
    throw Error(ErrorCode::kInvalidFile,
                "the vocabulary asks for a token that begins every text but has no <bos>; convert "
                "the model again with its tokenizer");
  const auto& bytes = rules_.byte_ids;
  if (special_.unknown == kNoToken &&
      std::find(bytes.begin(), bytes.end(), kNoToken) != bytes.end())
    throw Error(ErrorCode::kInvalidFile,
                "the vocabulary has neither all 256 byte tokens nor an unknown token; convert the "
                "model again with its tokenizer");
}

std::string Tokenizer::normalise(std::string_view text) const {
  std::string normalised;
  normalised.reserve(text.size() + text.size() / 2);
  if (add_space_prefix_ && !text.empty()) normalised += kSpaceMark;
  append_normalised(text, normalised);
  return normalised;
}

// Bytes that never meet inside a piece never end up in one token.
bool Tokenizer::can_cut_between(char left, char right) const {
  return !neighbours_[pair_index(left, right)];
}

}  // namespace tandem
