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
    const auto logits = session.logits();
    const double bound = kQuantisedMarginShare * largest_magnitude(logits);
    std::vector<int32_t> ids = {
        static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin())};
    while (ids.size() < prompt.greedy.size()) {
      const auto left = static_cast<uint32_t>(prompt.greedy.size() - ids.size());
      const auto more =
          session.append_greedy_rounds(ids.back(), std::min(engine.options().max_rounds, left));
      ids.insert(ids.end(), more.begin(), more.end());
    }
    const auto [got, want] = std::mismatch(ids.begin(), ids.end(), prompt.greedy.begin());
    if (got == ids.end()) continue;
    const auto i = static_cast<size_t>(got - ids.begin());
    EXPECT_LT(prompt.margins[i], bound) << prompt.text << ", token " << i;
  }
}

}  // namespace tandem
