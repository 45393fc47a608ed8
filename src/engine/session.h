// One sequence of tokens through the engine: what is in the cache, and the next token's logits.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/engine.h"

namespace tandem {

// Not thread-safe; the engine outlives it. `sequence` is its place in the engine's cache.
class Session {
 public:
  explicit Session(Engine& engine, uint32_t sequence = 0) : engine_(engine), sequence_(sequence) {}

  // Tokens the cache holds, and how many more fit.
  std::span<const int32_t> tokens() const { return tokens_; }
  uint32_t position() const { return static_cast<uint32_t>(tokens_.size()); }
  uint32_t room() const { return engine_.options().context - position(); }
  uint32_t vocab() const { return engine_.config().vocab; }
  uint32_t max_rounds() const { return engine_.options().max_rounds; }

  // Appends tokens, in steps of the engine's micro-batch, several at once where the plan has more
  // than one in flight. Afterwards logits() are those after the
  // last token. Throws kUsage when they do not fit the context or are outside the vocabulary. When
  // Ctrl-C was pressed it stops between steps and returns false; what was done stays.
  bool append(std::span<const int32_t> ids);

  // The same, with `each(index, logits)` called for every token in order; index counts within ids.
  void append_all(std::span<const int32_t> ids,
                  const std::function<void(uint32_t index, std::span<const float> logits)>& each);

  // Appends one token and returns the most likely next one (lowest id on a tie), found on the
  // device that runs the head.
  int32_t append_greedy(int32_t id);

  // Greedy decoding of up to `count` tokens in one submit of the device (at most the engine's
  // max_rounds): appends `id` and all but the last of the returned tokens.
  std::span<const int32_t> append_greedy_rounds(int32_t id, uint32_t count);

  // The same for several sequences of one engine at once: appends ids[i] to sessions[i], and all
  // but the last of the `count` tokens that follow, which are returned by session. They decode in
  // as many groups as the plan has steps in flight. The engine's max_outputs must be at least
  // their number. Groups that Ctrl-C kept from starting
  // have no tokens, and their sessions are as before.
  static std::vector<std::vector<int32_t>> append_greedy_together(std::span<Session> sessions,
                                                                  std::span<const int32_t> ids,
                                                                  uint32_t count);

  std::span<float> logits() const { return engine_.coordinator().logits(0); }

  // Forgets all but the first `count` tokens. Going back further than the cache's roll-back
  // margin (KvCache::kRollback) is a programmer error unless count is 0.
  void rewind(uint32_t count);

 private:
  void check(std::span<const int32_t> ids) const;
  void check_room(uint32_t count) const;
  void note_rows(std::span<const int32_t> ids, uint32_t first_output);
  bool append_pipelined(std::span<const int32_t> ids);
  void run(std::span<const int32_t> ids, uint32_t first_output, Tail tail, uint32_t rounds = 1);

  Engine& engine_;
  uint32_t sequence_;
  std::vector<int32_t> tokens_;
  std::vector<int32_t> round_ids_;
  std::vector<StepRow> rows_;
};

}  // namespace tandem
