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

void Session::check_room(uint32_t count) const {
  TANDEM_CHECK(count >= 1, "%u rounds", count);
  if (count > room())
    throw Error(ErrorCode::kUsage,
                fmt::format("{} more tokens do not fit the context of {}; choose a longer one (-c)",
                            count, engine_.options().context));
}

void Session::note_rows(std::span<const int32_t> ids, uint32_t first_output) {
  rows_.clear();
  for (size_t i = 0; i < ids.size(); ++i)
    rows_.push_back({static_cast<uint32_t>(ids[i]), sequence_,
                     position() + static_cast<uint32_t>(i), i >= first_output});
}

void Session::run(std::span<const int32_t> ids, uint32_t first_output, Tail tail, uint32_t rounds) {
  note_rows(ids, first_output);
  engine_.coordinator().run(rows_, tail, rounds);
  tokens_.insert(tokens_.end(), ids.begin(), ids.end());
}

bool Session::append(std::span<const int32_t> ids) {
  check(ids);
  const size_t step = engine_.coordinator().shape().max_rows;
  if (engine_.coordinator().shape().slots > 1 && ids.size() > step) return append_pipelined(ids);
  while (!ids.empty()) {
    const std::span<const int32_t> chunk = ids.first(std::min(step, ids.size()));
    ids = ids.subspan(chunk.size());
    const auto last = static_cast<uint32_t>(chunk.size());
    run(chunk, ids.empty() ? last - 1 : last, Tail::kNone);
    if (interrupted()) return ids.empty();
  }
  return true;
}

bool Session::append_pipelined(std::span<const int32_t> ids) {
  const size_t step = engine_.coordinator().shape().max_rows;
  note_rows(ids, static_cast<uint32_t>(ids.size()) - 1);
  const std::span<const StepRow> rows = rows_;
  std::vector<PipelineStep> steps;
  for (size_t i = 0; i < rows.size(); i += step)
    steps.push_back({rows.subspan(i, std::min(step, rows.size() - i))});
  uint32_t finished = 0;
  const auto count_finished = [&] {
    const auto done = ids.first(std::min(finished * step, ids.size()));
    tokens_.insert(tokens_.end(), done.begin(), done.end());
  };
  try {
    engine_.coordinator().run_pipelined(steps, Phase::kPrefill, Tail::kNone, &finished);
  } catch (...) {
    count_finished();
    throw;
  }
  count_finished();
  return finished == steps.size();
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
  check({&id, 1});
  check_room(count);
  run({&id, 1}, 0, Tail::kArgmax, count);
  round_ids_.clear();
  for (uint32_t round = 0; round < count; ++round)
    round_ids_.push_back(engine_.coordinator().ids(round).front());
  tokens_.insert(tokens_.end(), round_ids_.begin(), round_ids_.end() - 1);
  return round_ids_;
}

std::vector<std::vector<int32_t>> Session::append_greedy_together(std::span<Session> sessions,
                                                                  std::span<const int32_t> ids,
                                                                  uint32_t count) {
  Coordinator& coordinator = sessions.front().engine_.coordinator();
  std::vector<StepRow> rows;
  for (size_t i = 0; i < sessions.size(); ++i) {
    sessions[i].check(ids.subspan(i, 1));
    sessions[i].check_room(count);
    rows.push_back(
        {static_cast<uint32_t>(ids[i]), sessions[i].sequence_, sessions[i].position(), true});
  }
  const size_t group = coordinator.shape().decode_rows();
  std::vector<PipelineStep> steps;
  for (size_t i = 0; i < rows.size(); i += group)
    steps.push_back({std::span(rows).subspan(i, std::min(group, rows.size() - i)), count});
  size_t finished = 1;
  if (steps.size() == 1)
    coordinator.run(rows, Tail::kArgmax, count);
  else
    finished = coordinator.run_pipelined(steps, Phase::kDecode, Tail::kArgmax);
  std::vector<std::vector<int32_t>> next(sessions.size());
  for (size_t i = 0; i < std::min(sessions.size(), finished * group); ++i) {
    const auto slot = static_cast<uint32_t>(i / group);
    for (uint32_t round = 0; round < count; ++round)
      next[i].push_back(coordinator.pipelined_ids(slot, round)[i % group]);
    sessions[i].tokens_.push_back(ids[i]);
    sessions[i].tokens_.insert(sessions[i].tokens_.end(), next[i].begin(), next[i].end() - 1);
  }
  return next;
}

void Session::rewind(uint32_t count) {
  TANDEM_CHECK(count <= position(), "%u of %u tokens", count, position());
  TANDEM_CHECK(count == 0 || position() - count <= KvCache::kRollback, "going back %u tokens",
               position() - count);
  tokens_.resize(count);
}

}  // namespace tandem
