// SPDX-License-Identifier: Apache-2.0
#include "engine/generate.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "base/interrupt.h"
#include "model/detokenizer.h"
#include "model/stop_strings.h"

namespace tandem {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The text side: ids in, whole characters out, cut at the first stop string.
class TextStream {
 public:
  TextStream(const Tokenizer& tokenizer, const GenerateOptions& options,
             const std::function<void(std::string_view)>& emit, std::string& text)
      : detokenizer_(tokenizer), stops_(options.stop), emit_(emit), text_(text) {}

  // False once a stop string is complete.
  bool feed(int32_t id) {
    give(stops_.feed(detokenizer_.feed(id)));
    return !stops_.stopped();
  }
  void flush() {
    if (stops_.stopped()) return;
    give(stops_.feed(detokenizer_.flush()));
    if (!stops_.stopped()) give(stops_.flush());
  }

 private:
  void give(std::string_view part) {
    if (part.empty()) return;
    text_ += part;
    if (emit_) emit_(part);
  }

  Detokenizer detokenizer_;
  StopStrings stops_;
  const std::function<void(std::string_view)>& emit_;
  std::string& text_;
};

// Chooses tokens; greedy ones are found on the device that runs the head.
class TokenSource {
 public:
  TokenSource(Session& session, const SamplerOptions& options, size_t vocab)
      : session_(session),
        sampler_(options, vocab),
        greedy_(options.temperature == 0 && options.repetition_penalty == 1.0F) {}

  void accept(std::span<const int32_t> ids) {
    for (int32_t id : ids) sampler_.accept(id);
  }
  int32_t first() { return sampler_.sample(session_.logits()); }
  int32_t after(int32_t id) {
    if (greedy_) return session_.append_greedy(id);
    session_.append({&id, 1});
    return sampler_.sample(session_.logits());
  }

 private:
  Session& session_;
  Sampler sampler_;
  bool greedy_;
};

void check_prompt(const Session& session, std::span<const int32_t> prompt) {
  if (prompt.empty()) throw Error(ErrorCode::kUsage, "the prompt holds no token; give some text");
  if (prompt.size() >= session.room())
    throw Error(ErrorCode::kUsage, fmt::format("the prompt of {} tokens leaves no room for an "
                                               "answer: the context has {} free; shorten "
                                               "the prompt or choose a longer context (-c)",
                                               prompt.size(), session.room()));
}

}  // namespace

std::string_view finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStopToken: return "stop";
    case FinishReason::kStopString: return "stop_string";
    case FinishReason::kLength: return "length";
    case FinishReason::kContextFull: return "context_full";
    case FinishReason::kInterrupted: return "interrupted";
  }
  return "";
}

double GenerateResult::tokens_per_second() const {
  return ids.size() < 2 || generate_seconds <= 0
             ? 0
             : static_cast<double>(ids.size() - 1) / generate_seconds;
}

GenerateResult generate(Session& session, const Tokenizer& tokenizer,
                        std::span<const int32_t> prompt, const GenerateOptions& options,
                        const std::function<void(std::string_view)>& emit) {
  GenerateResult result;
  TextStream text(tokenizer, options, emit, result.text);
  TokenSource source(session, options.sampling, session.vocab());
  check_prompt(session, prompt);
  const auto start = Clock::now();
  source.accept(prompt);
  const bool whole = session.append(prompt);
  result.prompt_tokens = static_cast<uint32_t>(prompt.size());
  if (!whole || interrupted() || options.max_tokens == 0) {
    result.finish = interrupted() ? FinishReason::kInterrupted : FinishReason::kLength;
    return result;
  }
  int32_t id = source.first();
  result.prompt_seconds = seconds_since(start);
  const auto generating = Clock::now();
  for (;;) {
    if (!options.ignore_stop_tokens && tokenizer.is_stop(id)) {
      result.finish = FinishReason::kStopToken;
      break;
    }
    result.ids.push_back(id);
    if (!text.feed(id)) {
      result.finish = FinishReason::kStopString;
      break;
    }
    if (result.ids.size() >= options.max_tokens) break;
    if (session.room() == 0) {
      result.finish = FinishReason::kContextFull;
      break;
    }
    if (interrupted()) {
      result.finish = FinishReason::kInterrupted;
      break;
    }
    id = source.after(id);
    result.generate_seconds = seconds_since(generating);
    if (result.ids.size() == 1) result.second_token_seconds = result.generate_seconds;
  }
  text.flush();
  return result;
}

}  // namespace tandem
