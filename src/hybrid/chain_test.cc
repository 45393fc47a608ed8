// The search for the best walk against trying all walks.
// SPDX-License-Identifier: Apache-2.0
#include "hybrid/chain.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace tandem {
namespace {

class RandomChain {
 public:
  explicit RandomChain(uint32_t seed) : generator_(seed) {}

  uint32_t below(uint32_t end) {
    return std::uniform_int_distribution<uint32_t>(0, end - 1)(generator_);
  }

  // Amounts are whole numbers, so that sums are exact and ties happen.
  Chain make() {
    Chain chain;
    chain.node_count = 1 + below(6);
    chain.state_count = 1 + below(4);
    chain.load_count = 1 + below(3);
    chain.stock_count = below(3);
    chain.allocate();
    for (auto& step : chain.steps) {
      if (below(8) == 0) continue;
      step.emplace();
      for (uint32_t a = 0; a < chain.amount_count(); ++a) (*step)[a] = below(20);
    }
    for (uint32_t a = chain.load_count; a < chain.amount_count(); ++a)
      chain.limits[a] = below(12 * chain.node_count);
    return chain;
  }

 private:
  std::mt19937 generator_;
};

double by_trying_all(const Chain& chain, uint32_t node, uint32_t state, const Amounts& so_far) {
  if (node == chain.node_count) {
    for (uint32_t a = chain.load_count; a < chain.amount_count(); ++a)
      if (so_far[a] > chain.limits[a]) return INFINITY;
    return *std::max_element(so_far.begin(), so_far.begin() + chain.load_count);
  }
  double least = INFINITY;
  for (uint32_t next = 0; next < chain.state_count; ++next) {
    const auto& step = chain.step(node, state, next);
    if (!step) continue;
    Amounts amounts = so_far;
    for (uint32_t a = 0; a < chain.amount_count(); ++a) amounts[a] += (*step)[a];
    least = std::min(least, by_trying_all(chain, node + 1, next, amounts));
  }
  return least;
}

TEST(BestWalk, EqualsTryingAllWalksOnAThousandChains) {
  RandomChain random(1);
  uint32_t solvable = 0, limited = 0;
  for (uint32_t i = 0; i < 1000; ++i) {
    const Chain chain = random.make();
    const double expected = by_trying_all(chain, 0, 0, {});
    const std::optional<Walk> walk = best_walk(chain, 0);
    ASSERT_EQ(walk.has_value(), expected < INFINITY) << "chain " << i;
    if (!walk) continue;
    ++solvable;
    limited += chain.stock_count > 0;
    ASSERT_EQ(walk->objective, expected) << "chain " << i;
    ASSERT_LE(walk->bound, expected);
  }
  EXPECT_GT(solvable, 400u);
  EXPECT_GT(limited, 100u);
}

TEST(BestWalk, AmountsAreTheSumOfItsSteps) {
  RandomChain random(2);
  for (uint32_t i = 0; i < 200; ++i) {
    const Chain chain = random.make();
    const std::optional<Walk> walk = best_walk(chain, 0);
    if (!walk) continue;
    Amounts sum{};
    uint32_t from = 0;
    for (uint32_t node = 0; node < chain.node_count; ++node) {
      const auto& step = chain.step(node, from, walk->states[node]);
      ASSERT_TRUE(step.has_value());
      for (uint32_t a = 0; a < chain.amount_count(); ++a) sum[a] += (*step)[a];
      from = walk->states[node];
    }
    EXPECT_EQ(sum, walk->amounts);
  }
}

// A chain as long as a large model's, two devices: the relaxation's bound must be nearly met.
TEST(BestWalk, BalancesALongChainToHalfAPercent) {
  Chain chain;
  chain.node_count = 250;
  chain.state_count = 2;
  chain.load_count = 2;
  chain.stock_count = 1;
  chain.allocate();
  chain.limits[2] = 400;
  RandomChain random(3);
  for (uint32_t node = 0; node < chain.node_count; ++node)
    for (uint32_t to = 0; to < 2; ++to) {
      const double work = 50 + random.below(100);
      for (uint32_t from = 0; from < 2; ++from) {
        Amounts step{};
        step[to] = work + (from == to ? 0 : 3);
        step[2] = to;
        chain.step(node, from, to) = step;
      }
    }
  const std::optional<Walk> walk = best_walk(chain, 1e-3);
  ASSERT_TRUE(walk.has_value());
  EXPECT_LE(walk->objective, walk->bound * 1.005);
}

}  // namespace
}  // namespace tandem
