// SPDX-License-Identifier: Apache-2.0
#include "engine/conversation.h"

#include <fmt/format.h>

#include "base/error.h"

namespace tandem {

Conversation::Conversation(Engine& engine, const Tokenizer& tokenizer,
                           const GenerateOptions& options, std::string system)
    : session_(engine),
      generator_(session_, tokenizer, options),
      template_(tokenizer),
      system_(std::move(system)) {}

GenerateResult Conversation::reply(std::string_view text, const Generator::Emit& emit) {
  const bool first = session_.position() == 0 && pending_.empty();
  std::vector<Message> messages;
  if (first && !system_.empty()) messages.push_back({Role::kSystem, system_});
  messages.push_back({Role::kUser, std::string(text)});
  const std::vector<int32_t> turn = template_.encode_turns(messages, first, true);

  std::vector<int32_t> said = pending_;
  said.insert(said.end(), turn.begin(), turn.end());
  if (said.size() >= session_.room())
    throw Error(ErrorCode::kUsage,
                first ? fmt::format("this text of {} tokens is too long for the context of {}; "
                                    "shorten it or choose a longer context (-c)",
                                    said.size(), session_.room())
                      : fmt::format("the context is full: {} tokens are left and this turn needs "
                                    "{}; start a new conversation or choose a longer context (-c)",
                                    session_.room(), said.size() + 1));
  const uint32_t start = session_.position();
  GenerateResult result = generator_.generate(said, emit);

  // The session has read the beginning of what was said: all but the last token as a rule, less
  // when Ctrl-C came while it read.
  said.insert(said.end(), result.ids.begin(), result.ids.end());
  const uint32_t read = session_.position() - start;
  pending_.assign(said.begin() + read, said.end());
  const auto end = template_.turn_end();
  pending_.insert(pending_.end(), end.begin(), end.end());
  return result;
}

std::vector<int32_t> Conversation::tokens() const {
  std::vector<int32_t> all(session_.tokens().begin(), session_.tokens().end());
  all.insert(all.end(), pending_.begin(), pending_.end());
  return all;
}

}  // namespace tandem
