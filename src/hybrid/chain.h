// The cheapest walk along a chain of nodes, each in one of several states, under limits on what the
// walk uses up. A plan is such a walk: planner.cc says what the states and amounts stand for.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace tandem {

inline constexpr uint32_t kMaxAmounts = 13;
using Amounts = std::array<double, kMaxAmounts>;

// What a walk adds up: first the loads, the largest of which is to be small; then stocks, none of
// which may pass its limit. All are at least 0; stocks are whole numbers, whose sums are exact.
struct Chain {
  uint32_t node_count = 0, state_count = 0;
  uint32_t load_count = 1, stock_count = 0;
  Amounts limits{};  // of stock i at [load_count + i]
  // By node, state before, state there; at node 0 the state before is 0. nullopt: impossible.
  std::vector<std::optional<Amounts>> steps;

  uint32_t amount_count() const { return load_count + stock_count; }
  std::optional<Amounts>& step(uint32_t node, uint32_t from, uint32_t to) {
    return steps[(size_t{node} * state_count + from) * state_count + to];
  }
  const std::optional<Amounts>& step(uint32_t node, uint32_t from, uint32_t to) const {
    return steps[(size_t{node} * state_count + from) * state_count + to];
  }
  // Makes room for all steps, none of them possible.
  void allocate() { steps.assign(size_t{node_count} * state_count * state_count, std::nullopt); }
};

struct Walk {
  std::vector<uint32_t> states;  // per node
  Amounts amounts{};
  double objective = 0;  // the largest load
  double bound = 0;      // no walk within the limits has less: equal to the objective, or nearly
};

// The best walk, or nullopt when none keeps the limits. Exact for `tolerance` 0; otherwise within
// that share of the best. Where a chain has more alternatives than memory for them allows, the
// walk is the best found and `bound` says how far off it can be.
std::optional<Walk> best_walk(const Chain& chain, double tolerance);

}  // namespace tandem
