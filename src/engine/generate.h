// Text from a session: prompt in, tokens out one by one until something ends them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/session.h"
#include "model/sampler.h"
#include "model/tokenizer.h"

namespace tandem {

struct GenerateOptions {
  uint32_t max_tokens = UINT32_MAX;  // generated; also ends where the context does
  SamplerOptions sampling;
  std::vector<std::string> stop;  // text that ends the answer and is not part of it
  bool ignore_stop_tokens = false;
};

// Throws kUsage naming the option that is out of range.
void validate(const GenerateOptions& options);

enum class FinishReason : uint8_t { kStopToken, kStopString, kLength, kContextFull, kInterrupted };
std::string_view finish_reason_name(FinishReason reason);  // "stop", "stop_string", "length", ..

struct GenerateResult {
  std::vector<int32_t> ids;  // generated, without the stop token
  std::string text;
  FinishReason finish = FinishReason::kLength;
  uint32_t prompt_tokens = 0;
  double prompt_seconds = 0;        // until the first token was chosen
  double generate_seconds = 0;      // from there to the last
  double second_token_seconds = 0;  // of which for the second token
  // Generated tokens per second, the first one not counted.
  double tokens_per_second() const;
};

// Generates in one session, as often as one likes: the random numbers and the tokens that count as
// recent go on from call to call. Session and tokenizer outlive it.
class Generator {
 public:
  using Emit = std::function<void(std::string_view)>;

  // Throws kUsage as validate() does.
  Generator(Session& session, const Tokenizer& tokenizer, const GenerateOptions& options);

  // Appends `prompt` to the session and generates. `emit`, where given, gets the text in whole
  // UTF-8 characters as it comes. The session then holds the prompt and all generated tokens but
  // the last; less of the prompt when Ctrl-C stopped it there. Throws kUsage, with nothing done,
  // when the prompt is empty or does not fit with room for one token.
  GenerateResult generate(std::span<const int32_t> prompt, const Emit& emit);

 private:
  void check(std::span<const int32_t> prompt) const;
  int32_t next_after(int32_t id, uint32_t most);
  void drop_ahead();

  Session& session_;
  const Tokenizer& tokenizer_;
  GenerateOptions options_;
  Sampler sampler_;
  bool greedy_;                     // the device that runs the head finds the next token
  std::span<const int32_t> ahead_;  // tokens the session found but generate() has not taken
  double seconds_per_token_ = 0;    // of the last submit; 0: not known
};

}  // namespace tandem
