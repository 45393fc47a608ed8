// SPDX-License-Identifier: Apache-2.0
#include "engine/session.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/error.h"
#include "base/interrupt.h"

namespace tandem {

void Session::check(std::span<const int32_t> ids) const {
  if (ids.size() > room())
    throw Error(
        ErrorCode::kUsage,
        fmt::format(
            "{} tokens do not fit: the context holds {} and {} are in use; shorten the prompt or "
            "choose a longer context (-c)",
            ids.size(), engine_.options().context, position()));
  for (int32_t id : ids)
    if (id < 0 || static_cast<uint32_t>(id) >= engine_.config().vocab)
      throw Error(ErrorCode::kUsage,
                  fmt::format("token id {} is outside the model's vocabulary of {}", id,
                              engine_.config().vocab));
}

void Session::run(std::span<const int32_t> ids, uint32_t first_output, Tail tail, uint32_t rounds) {
  rows_.clear();
  for (size_t i = 0; i < ids.size(); ++i)
    rows_.push_back({static_cast<uint32_t>(ids[i]), sequence_,
                     position() + static_cast<uint32_t>(i), i >= first_output});
  engine_.coordinator().run(rows_, tail, rounds);
  tokens_.insert(tokens_.end(), ids.begin(), ids.end());
}

bool Session::append(std::span<const int32_t> ids) {
  check(ids);
  const size_t step = engine_.coordinator().shape().max_rows;
  while (!ids.empty()) {
    const std::span<const int32_t> chunk = ids.first(std::min(step, ids.size()));
    ids = ids.subspan(chunk.size());
    const auto last = static_cast<uint32_t>(chunk.size());
    run(chunk, ids.empty() ? last - 1 : last, Tail::kNone);
    if (interrupted()) return ids.empty();
  }
  return true;
}

void Session::append_all(std::span<const int32_t> ids,
                         const std::function<void(uint32_t, std::span<const float>)>& each) {
  check(ids);
  const CoordinatorShape& shape = engine_.coordinator().shape();
  const size_t step = std::min(shape.max_rows, shape.max_outputs);
  uint32_t done = 0;
  while (done < ids.size()) {
    const std::span<const int32_t> chunk = ids.subspan(done, std::min(step, ids.size() - done));
    run(chunk, 0, Tail::kNone);
    for (uint32_t i = 0; i < chunk.size(); ++i) each(done + i, engine_.coordinator().logits(i));
    done += static_cast<uint32_t>(chunk.size());
  }
}

int32_t Session::append_greedy(int32_t id) { return append_greedy_rounds(id, 1).front(); }

std::span<const int32_t> Session::append_greedy_rounds(int32_t id, uint32_t count) {
  TANDEM_CHECK(count >= 1, "%u rounds", count);
  check({&id, 1});
  if (count > room())
    throw Error(ErrorCode::kUsage,
                fmt::format("{} more tokens do not fit the context of {}; choose a longer one (-c)",
                            count, engine_.options().context));
  run({&id, 1}, 0, Tail::kArgmax, count);
  round_ids_.clear();
  for (uint32_t round = 0; round < count; ++round)
    round_ids_.push_back(engine_.coordinator().ids(round).front());
  tokens_.insert(tokens_.end(), round_ids_.begin(), round_ids_.end() - 1);
  return round_ids_;
}

void Session::rewind(uint32_t count) {
  TANDEM_CHECK(count <= position(), "%u of %u tokens", count, position());
  TANDEM_CHECK(count == 0 || position() - count <= KvCache::kRollback, "going back %u tokens",
               position() - count);
  tokens_.resize(count);
}

}  // namespace tandem
