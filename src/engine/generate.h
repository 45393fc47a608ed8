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

// Appends `prompt` to the session and generates. `emit` gets the text in whole UTF-8 characters as
// it comes. The session holds the prompt and all generated tokens but the last afterwards. Throws
// kUsage when the prompt is empty or does not fit with room for one token.
GenerateResult generate(Session& session, const Tokenizer& tokenizer,
                        std::span<const int32_t> prompt, const GenerateOptions& options,
                        const std::function<void(std::string_view)>& emit);

}  // namespace tandem
