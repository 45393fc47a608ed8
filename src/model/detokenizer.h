// Token ids back to text, token by token as a model generates them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "model/tokenizer.h"

namespace tandem {

enum class ControlTokens : uint8_t { kHide, kShow };

// Everything it returns is whole UTF-8 characters: the bytes of an unfinished one wait for the
// next token, and bytes that cannot become one turn into U+FFFD.
class Detokenizer {
 public:
  // `tokenizer` outlives the detokenizer.
  explicit Detokenizer(const Tokenizer& tokenizer, ControlTokens control = ControlTokens::kHide);

  // The text that token `id` completes, often none; valid until the next call. Ids that the
  // vocabulary does not have are padding rows of the model's embedding and have no text.
  std::string_view feed(int32_t id);

  // The end of the text: what still waits, as U+FFFD. A new text may follow.
  std::string_view flush();

 private:
  void append_bytes(int32_t id);

  const Tokenizer& tokenizer_;
  ControlTokens control_;
  std::string held_;  // the start of a character
  std::string text_;  // what the last call returned
};

// All at once.
std::string decode(const Tokenizer& tokenizer, std::span<const int32_t> ids,
                   ControlTokens control = ControlTokens::kHide);

}  // namespace tandem
