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

// How long a reader may wait for text while several tokens are found in one submit.
constexpr double kPatience = 0.05;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The text side: ids in, whole characters out, cut at the first stop string.
class TextStream {
 public:
  TextStream(const Tokenizer& tokenizer, const GenerateOptions& options,
             const Generator::Emit& emit, std::string& text)
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
  const Generator::Emit& emit_;
  std::string& text_;
};

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

void validate(const GenerateOptions& options) {
  validate(options.sampling);
  static_cast<void>(StopStrings(options.stop));  // throws for an empty one
}

Generator::Generator(Session& session, const Tokenizer& tokenizer, const GenerateOptions& options)
    : session_(session),
      tokenizer_(tokenizer),
      options_(options),
      sampler_(options.sampling, session.vocab()),
      greedy_(options.sampling.temperature == 0 && options.sampling.repetition_penalty == 1.0F) {
  validate(options);
}

void Generator::check(std::span<const int32_t> prompt) const {
  if (prompt.empty()) throw Error(ErrorCode::kUsage, "the prompt holds no token; give some text");
  if (prompt.size() >= session_.room())
    throw Error(ErrorCode::kUsage, fmt::format("the prompt of {} tokens leaves no room for an "
                                               "answer: the context has {} free; shorten "
                                               "the prompt or choose a longer context (-c)",
                                               prompt.size(), session_.room()));
}

// `most` tokens may still be wanted.
int32_t Generator::next_after(int32_t id, uint32_t most) {
  if (!greedy_) {
    session_.append({&id, 1});
    return sampler_.sample(session_.logits());
  }
  if (ahead_.empty()) {
    uint32_t rounds = 1;
    if (seconds_per_token_ > 0) {
      const double patient = std::clamp(kPatience / seconds_per_token_, 1.0,
                                        static_cast<double>(session_.max_rounds()));
      rounds = std::min({static_cast<uint32_t>(patient), most, session_.room()});
    }
    const auto start = Clock::now();
    ahead_ = session_.append_greedy_rounds(id, rounds);
    seconds_per_token_ = seconds_since(start) / rounds;
  }
  const int32_t next = ahead_.front();
  ahead_ = ahead_.subspan(1);
  return next;
}

// Takes back what the session holds beyond the last token taken.
void Generator::drop_ahead() {
  session_.rewind(session_.position() - static_cast<uint32_t>(ahead_.size()));
  ahead_ = {};
}

GenerateResult Generator::generate(std::span<const int32_t> prompt, const Emit& emit) {
  check(prompt);
  GenerateResult result;
  TextStream text(tokenizer_, options_, emit, result.text);
  const auto start = Clock::now();
  const bool whole = session_.append(prompt);
  for (int32_t id : prompt) sampler_.accept(id);
  result.prompt_tokens = static_cast<uint32_t>(prompt.size());
  if (!whole || interrupted() || options_.max_tokens == 0) {
    result.finish = interrupted() ? FinishReason::kInterrupted : FinishReason::kLength;
    return result;
  }
  int32_t id = sampler_.sample(session_.logits());
  result.prompt_seconds = seconds_since(start);
  const auto generating = Clock::now();
  for (;;) {
    if (!options_.ignore_stop_tokens && tokenizer_.is_stop(id)) {
      result.finish = FinishReason::kStopToken;
      break;
    }
    result.ids.push_back(id);
    if (!text.feed(id)) {
      result.finish = FinishReason::kStopString;
      break;
    }
    if (result.ids.size() >= options_.max_tokens) break;
    if (session_.room() + ahead_.size() == 0) {
      result.finish = FinishReason::kContextFull;
      break;
    }
    if (interrupted()) {
      result.finish = FinishReason::kInterrupted;
      break;
    }
    id = next_after(id, options_.max_tokens - static_cast<uint32_t>(result.ids.size()));
    result.generate_seconds = seconds_since(generating);
    if (result.ids.size() == 1) result.second_token_seconds = result.generate_seconds;
  }
  drop_ahead();
  text.flush();
  return result;
}

}  // namespace tandem
