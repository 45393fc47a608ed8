// Conversations as token ids, in the form Gemma 3 was trained on:
//   <bos><start_of_turn>user\nTEXT<end_of_turn>\n<start_of_turn>model\nREPLY<end_of_turn>\n...
// Control tokens are put in as ids and never as text, so no message can forge a turn.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/tokenizer.h"

namespace tandem {

enum class Role : uint8_t { kSystem, kUser, kModel };

struct Message {
  Role role = Role::kUser;
  std::string content;
};

class ChatTemplate {
 public:
  // `tokenizer` outlives the template. Throws kUnsupported when it has no turn tokens.
  explicit ChatTemplate(const Tokenizer& tokenizer);

  // Token ids of `messages`. White space around the content of users and of the model is dropped.
  // Gemma has no system role: system text becomes part of the next user turn, with a blank line
  // after it. Successive messages of one side become one turn, with a blank line between.
  // `first`: they begin the conversation, so `bos` stands in front, once. Otherwise they continue
  // one whose last turn has ended, so that what a model has read stays valid.
  // `add_generation_prompt`: ends where the model's reply starts.
  std::vector<int32_t> encode_turns(std::span<const Message> messages, bool first,
                                    bool add_generation_prompt) const;

  // What follows a generated reply (without the stop token it may have ended with) before the
  // next encode_turns: <end_of_turn> and a newline.
  std::span<const int32_t> turn_end() const { return turn_end_; }

 private:
  void append_text(std::string_view text, std::vector<int32_t>& ids) const;

  const Tokenizer& tokenizer_;
  std::vector<int32_t> turn_end_;
};

}  // namespace tandem
