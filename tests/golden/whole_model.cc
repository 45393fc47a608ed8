// SPDX-License-Identifier: Apache-2.0
#include "golden/whole_model.h"

#include <algorithm>
#include <cmath>

#include "engine/session.h"

namespace tandem {
namespace {

double largest_magnitude(std::span<const float> logits) {
  double largest = 0;
  for (float logit : logits) largest = std::max(largest, std::abs(static_cast<double>(logit)));
  return largest;
}

// Counts a wrong most likely token, and a kept row's error.
void compare_row(const ReferencePrompt& prompt, uint32_t position, std::span<const float> got,
                 double bound, Outcome& outcome) {
  const auto top = std::max_element(got.begin(), got.end());
  if (static_cast<int32_t>(top - got.begin()) != prompt.argmax[position]) {
    const double margin = *top - got[static_cast<size_t>(prompt.argmax[position])];
    // Written so that NaN counts.
    if (!(margin <= 2 * bound * largest_magnitude(got))) ++outcome.wrong_argmax;
  }
  const auto kept = std::find(prompt.kept.begin(), prompt.kept.end(), position);
  const auto index = static_cast<size_t>(kept - prompt.kept.begin());
  if (index >= prompt.logits.size()) return;
  outcome.worst_error = std::max(outcome.worst_error, relative_error(prompt.logits[index], got));
  outcome.mean_divergence += divergence(prompt.logits[index], got);
}

// What follows a prompt, greedily.
struct Continuation {
  Continuation(const ReferencePrompt& after, std::span<const float> logits)
      : prompt(after), bound(kQuantisedMarginShare * largest_magnitude(logits)) {
    const auto top = std::max_element(logits.begin(), logits.end());
    ids.push_back(static_cast<int32_t>(top - logits.begin()));
  }
  void add(std::span<const int32_t> more) { ids.insert(ids.end(), more.begin(), more.end()); }
  void expect_reference() const {
    const auto [got, want] = std::mismatch(ids.begin(), ids.end(), prompt.greedy.begin());
    if (got == ids.end()) return;
    const auto i = static_cast<size_t>(got - ids.begin());
    EXPECT_LT(prompt.margins[i], bound) << prompt.text << ", token " << i;
  }

  const ReferencePrompt& prompt;
  double bound;  // of what the logits may be off
  std::vector<int32_t> ids;
};

}  // namespace

EngineOptions options_for(uint32_t context, DType kv) {
  EngineOptions options;
  options.context = context;
  options.max_outputs = 64;
  options.kv = kv;
  return options;
}

Outcome compare(const Reference& reference, const std::filesystem::path& model,
                EngineOptions options, double bound) {
  size_t longest = 0, rows = 0;
  for (const ReferencePrompt& p : reference.prompts) {
    longest = std::max(longest, p.ids.size());
    rows += p.logits.size();
  }
  options.context = static_cast<uint32_t>(longest);
  Engine engine(model, options);
  Outcome outcome;
  for (const ReferencePrompt& prompt : reference.prompts) {
    Session session(engine);
    session.append_all(prompt.ids, [&](uint32_t position, std::span<const float> got) {
      compare_row(prompt, position, got, bound, outcome);
    });
  }
  if (rows > 0) outcome.mean_divergence /= static_cast<double>(rows);
  return outcome;
}

void expect_greedy(const Reference& reference, const std::filesystem::path& model,
                   const EngineOptions& options) {
  Engine engine(model, options);
  for (const ReferencePrompt& prompt : reference.prompts) {
    if (prompt.ids.size() + prompt.greedy.size() > options.context) continue;
    Session session(engine);
    session.append(prompt.ids);
    Continuation text(prompt, session.logits());
    while (text.ids.size() < prompt.greedy.size()) {
      const auto left = static_cast<uint32_t>(prompt.greedy.size() - text.ids.size());
      text.add(session.append_greedy_rounds(text.ids.back(),
                                            std::min(engine.options().max_rounds, left)));
    }
    text.expect_reference();
  }
}

void expect_greedy_together(const Reference& reference, const std::filesystem::path& model,
                            EngineOptions options, uint32_t sequences) {
  options.sequences = sequences;
  Engine engine(model, options);
  std::vector<Session> sessions;
  std::vector<Continuation> texts;
  for (const ReferencePrompt& prompt : reference.prompts) {
    if (sessions.size() == sequences) break;
    if (prompt.ids.size() + prompt.greedy.size() > options.context) continue;
    sessions.emplace_back(engine, static_cast<uint32_t>(sessions.size()));
    sessions.back().append(prompt.ids);
    texts.emplace_back(prompt, sessions.back().logits());
  }
  ASSERT_EQ(sessions.size(), sequences);
  const auto shortest = std::min_element(texts.begin(), texts.end(), [](auto& a, auto& b) {
    return a.prompt.greedy.size() < b.prompt.greedy.size();
  });
  while (shortest->ids.size() < shortest->prompt.greedy.size()) {
    std::vector<int32_t> last;
    for (const Continuation& text : texts) last.push_back(text.ids.back());
    const auto next = Session::append_greedy_together(sessions, last, 1);
    for (size_t i = 0; i < texts.size(); ++i) texts[i].add(next[i]);
  }
  for (const Continuation& text : texts) text.expect_reference();
}

}  // namespace tandem
