// SPDX-License-Identifier: Apache-2.0
#include "model/chat_template.h"

#include <algorithm>
#include <array>

#include "base/error.h"

namespace tandem {
namespace {

constexpr std::string_view kModelHeader = "model\n";

// What Jinja's trim filter drops, that is Python's str.strip: every character with the property
// White_Space, and the four separators U+001C to U+001F.
constexpr std::array<std::string_view, 29> kWhiteSpace = {
    "\t",           "\n",           "\v",           "\f",           "\r",
    "\x1C",         "\x1D",         "\x1E",         "\x1F",         " ",
    "\xC2\x85",     "\xC2\xA0",     "\xE1\x9A\x80", "\xE2\x80\x80", "\xE2\x80\x81",
    "\xE2\x80\x82", "\xE2\x80\x83", "\xE2\x80\x84", "\xE2\x80\x85", "\xE2\x80\x86",
    "\xE2\x80\x87", "\xE2\x80\x88", "\xE2\x80\x89", "\xE2\x80\x8A", "\xE2\x80\xA8",
    "\xE2\x80\xA9", "\xE2\x80\xAF", "\xE2\x81\x9F", "\xE3\x80\x80"};

std::string_view trim(std::string_view text) {
  const auto starts_text = [&](std::string_view c) { return text.substr(0, c.size()) == c; };
  const auto ends_text = [&](std::string_view c) {
    return text.size() >= c.size() && text.substr(text.size() - c.size()) == c;
  };
  const auto* const none = kWhiteSpace.end();
  for (const auto* c = kWhiteSpace.begin(); c != none;) {
    c = std::find_if(kWhiteSpace.begin(), none, starts_text);
    if (c != none) text.remove_prefix(c->size());
  }
  for (const auto* c = kWhiteSpace.begin(); c != none;) {
    c = std::find_if(kWhiteSpace.begin(), none, ends_text);
    if (c != none) text.remove_suffix(c->size());
  }
  return text;
}

struct Turn {
  bool by_model;
  std::string content;
};

std::vector<Turn> merge_into_turns(std::span<const Message> messages) {
  std::vector<Turn> turns;
  for (const Message& message : messages) {
    const bool is_system = message.role == Role::kSystem;
    if (is_system && message.content.empty()) continue;
    const bool by_model = message.role == Role::kModel;
    // The published template trims the other roles and takes the system text as it is.
    const std::string_view content = is_system ? message.content : trim(message.content);
    if (turns.empty() || turns.back().by_model != by_model)
      turns.push_back({by_model, std::string(content)});
    else
      turns.back().content.append("\n\n").append(content);
  }
  return turns;
}

}  // namespace

ChatTemplate::ChatTemplate(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {
  const SpecialTokens& special = tokenizer.special();
  if (special.start_of_turn == kNoToken || special.end_of_turn == kNoToken)
    throw Error(ErrorCode::kUnsupported,
                "the model has no chat turns: its vocabulary lacks <start_of_turn> or "
                "<end_of_turn>; give it plain text to continue instead");
  turn_end_.push_back(special.end_of_turn);
  append_text("\n", turn_end_);
}

// The text between two control tokens is encoded in one piece, header included: the newline after
// the role merges with newlines that system text may start with, as in the published tokenizer.
std::vector<int32_t> ChatTemplate::encode_turns(std::span<const Message> messages, bool first,
                                                bool add_generation_prompt) const {
  const SpecialTokens& special = tokenizer_.special();
  std::vector<int32_t> ids;
  if (first && special.bos != kNoToken) ids.push_back(special.bos);
  for (const Turn& turn : merge_into_turns(messages)) {
    ids.push_back(special.start_of_turn);
    append_text(std::string(turn.by_model ? kModelHeader : "user\n").append(turn.content), ids);
    ids.insert(ids.end(), turn_end_.begin(), turn_end_.end());
  }
  if (add_generation_prompt) {
    ids.push_back(special.start_of_turn);
    append_text(kModelHeader, ids);
  }
  return ids;
}

void ChatTemplate::append_text(std::string_view text, std::vector<int32_t>& ids) const {
  const std::vector<int32_t> encoded = tokenizer_.encode(text);
  ids.insert(ids.end(), encoded.begin(), encoded.end());
}

}  // namespace tandem
