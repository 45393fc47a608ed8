// A conversation with a model: turns in, replies out. Only what is new is computed each turn.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/generate.h"
#include "model/chat_template.h"

namespace tandem {

// Engine and tokenizer outlive it. Not thread-safe.
class Conversation {
 public:
  // `system`: instructions before the first turn; may be empty. Throws kUnsupported when the model
  // has no chat turns, kUsage as validate(GenerateOptions) does.
  Conversation(Engine& engine, const Tokenizer& tokenizer, const GenerateOptions& options,
               std::string system = {});
  Conversation(const Conversation&) = delete;
  Conversation& operator=(const Conversation&) = delete;

  // The model's reply to the user's `text`, which no control token can come of. Throws kUsage when
  // the text does not fit the context with room for a token; the conversation is as before then.
  GenerateResult reply(std::string_view text, const Generator::Emit& emit);

  // Everything said so far as token ids, as the model will have read it before the next turn.
  std::vector<int32_t> tokens() const;

 private:
  Session session_;
  Generator generator_;
  ChatTemplate template_;
  std::string system_;
  std::vector<int32_t> pending_;  // said, but not in the session's cache yet
};

}  // namespace tandem
