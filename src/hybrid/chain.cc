// SPDX-License-Identifier: Apache-2.0
#include "hybrid/chain.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"

namespace tandem {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr uint32_t kPricings = 100;  // rounds of adjusting prices
constexpr size_t kMaxLabels = 150;   // kept at a node, by state; comparing them is quadratic
constexpr double kRounding = 1e-9;   // share by which sums of loads in different orders may differ

// What an amount of each kind costs. With load prices that sum to 1 the priced sum of a walk, less
// the price of the limits, is at most its largest load when it keeps the limits. So the cheapest
// walk at any such prices bounds the best one from below (Lagrangian relaxation).
using Prices = Amounts;

class Search {
 public:
  Search(const Chain& chain, double tolerance) : chain_(chain), tolerance_(tolerance) {}

  std::optional<Walk> run() {
    adjust_prices();
    if (bound_ == kInfinity) return std::nullopt;  // no walk at all
    if (!good_enough()) search_labels();
    if (best_.states.empty()) return std::nullopt;
    best_.bound = std::min(bound_, best_.objective);
    return best_;
  }

 private:
  struct Label {  // a walk up to a node
    Amounts amounts{};
    uint32_t state = 0, parent = 0;  // parent: index among the labels of the node before
  };

  double priced(const Amounts& amounts, const Prices& prices) const {
    double sum = 0;
    for (uint32_t i = 0; i < chain_.amount_count(); ++i) sum += prices[i] * amounts[i];
    return sum;
  }
  double limit_price(const Prices& prices) const {
    double sum = 0;
    for (uint32_t i = chain_.load_count; i < chain_.amount_count(); ++i)
      sum += prices[i] * chain_.limits[i];
    return sum;
  }
  double largest_load(const Amounts& amounts) const {
    return *std::max_element(amounts.begin(), amounts.begin() + chain_.load_count);
  }
  bool keeps_limits(const Amounts& amounts) const {
    for (uint32_t i = chain_.load_count; i < chain_.amount_count(); ++i)
      if (amounts[i] > chain_.limits[i]) return false;
    return true;
  }
  bool good_enough() const {
    return !best_.states.empty() &&
           best_.objective <= bound_ + (tolerance_ + kRounding) * best_.objective;
  }

  // rest[i][s]: the cheapest way from state s at node i to the end, which is the recurrence
  //   rest[i][s] = min over t of (price of step(i + 1, s, t) + rest[i + 1][t]),  rest[last][s] = 0.
  // Returns the price of the cheapest whole walk.
  double shortest(const Prices& prices, std::vector<double>& rest) const {
    const uint32_t states = chain_.state_count;
    rest.assign(size_t{chain_.node_count} * states, 0);
    for (uint32_t i = chain_.node_count - 1; i-- > 0;)
      for (uint32_t s = 0; s < states; ++s) {
        double& least = rest[size_t{i} * states + s] = kInfinity;
        for (uint32_t t = 0; t < states; ++t)
          if (const auto& step = chain_.step(i + 1, s, t))
            least = std::min(least, priced(*step, prices) + rest[size_t{i + 1} * states + t]);
      }
    double least = kInfinity;
    for (uint32_t t = 0; t < states; ++t)
      if (const auto& step = chain_.step(0, 0, t))
        least = std::min(least, priced(*step, prices) + rest[t]);
    return least;
  }

  // The walk that shortest() priced.
  Walk follow(const Prices& prices, const std::vector<double>& rest) const {
    Walk walk;
    uint32_t from = 0;
    for (uint32_t i = 0; i < chain_.node_count; ++i) {
      uint32_t next = 0;
      double least = kInfinity;
      for (uint32_t t = 0; t < chain_.state_count; ++t) {
        const auto& step = chain_.step(i, from, t);
        if (!step) continue;
        const double price = priced(*step, prices) + rest[size_t{i} * chain_.state_count + t];
        if (price < least) {
          least = price;
          next = t;
        }
      }
      const Amounts& step = *chain_.step(i, from, next);
      for (uint32_t a = 0; a < chain_.amount_count(); ++a) walk.amounts[a] += step[a];
      walk.states.push_back(next);
      from = next;
    }
    walk.objective = largest_load(walk.amounts);
    return walk;
  }

  // Loads that weigh most get dearer, stocks beyond their limits too. Keeps the prices with the
  // best bound and the best walk met on the way.
  void adjust_prices() {
    Prices prices{};
    std::fill_n(prices.begin(), chain_.load_count, 1.0 / chain_.load_count);
    bound_ = -kInfinity;
    for (uint32_t round = 0; round < kPricings; ++round) {
      std::vector<double> rest;
      const double price = shortest(prices, rest);
      if (price == kInfinity) {
        bound_ = kInfinity;
        return;
      }
      if (price - limit_price(prices) > bound_) {
        bound_ = price - limit_price(prices);
        prices_ = prices;
        rest_ = rest;
      }
      const Walk walk = follow(prices, rest);
      if (keeps_limits(walk.amounts) && (best_.states.empty() || walk.objective < best_.objective))
        best_ = walk;
      if (good_enough()) return;
      change(prices, walk, 1 / std::sqrt(round + 1.0));
    }
  }

  void change(Prices& prices, const Walk& walk, double pace) const {
    double sum = 0;
    const double largest = std::max(walk.objective, std::numeric_limits<double>::min());
    for (uint32_t i = 0; i < chain_.load_count; ++i)
      sum += prices[i] *= std::exp(pace * walk.amounts[i] / largest);
    for (uint32_t i = 0; i < chain_.load_count; ++i) prices[i] /= sum;
    for (uint32_t i = chain_.load_count; i < chain_.amount_count(); ++i) {
      const double limit = std::max(chain_.limits[i], 1.0);
      const double excess = (walk.amounts[i] - chain_.limits[i]) / limit;
      prices[i] = std::max(0.0, prices[i] + pace * walk.objective / limit * excess);
    }
  }

  // Whether a label may still become a walk better than the best known.
  bool promising(const Label& label, uint32_t node) const {
    for (uint32_t i = chain_.load_count; i < chain_.amount_count(); ++i)
      if (label.amounts[i] > chain_.limits[i]) return false;
    const double most =
        best_.states.empty() ? kInfinity : best_.objective * (1 - tolerance_ - kRounding);
    if (largest_load(label.amounts) >= most) return false;
    return bound_of(label, node) < most;
  }

  // What a walk that begins like this has at least.
  double bound_of(const Label& label, uint32_t node) const {
    return priced(label.amounts, prices_) - limit_price(prices_) +
           rest_[size_t{node} * chain_.state_count + label.state];
  }

  bool dominates(const Label& a, const Label& b) const {
    for (uint32_t i = 0; i < chain_.amount_count(); ++i)
      if (a.amounts[i] > b.amounts[i]) return false;
    return true;
  }

  // Of labels in one state, one that is nowhere less than another leads to nothing better.
  void drop_dominated(std::vector<Label>& labels) const {
    std::sort(labels.begin(), labels.end(), [](const Label& a, const Label& b) {
      return a.state != b.state ? a.state < b.state : a.amounts < b.amounts;
    });
    std::vector<Label> kept;
    size_t first = 0;  // kept in the same state
    for (const Label& label : labels) {
      if (!kept.empty() && kept.back().state != label.state) first = kept.size();
      if (std::none_of(kept.begin() + static_cast<std::ptrdiff_t>(first), kept.end(),
                       [&](const Label& other) { return dominates(other, label); }))
        kept.push_back(label);
    }
    labels = std::move(kept);
  }

  // Leaves the `most` labels with the least bounds; returns whether those were all.
  bool keep_most_promising(std::vector<Label>& labels, size_t most, uint32_t node) const {
    if (labels.size() <= most) return true;
    std::nth_element(
        labels.begin(), labels.begin() + static_cast<std::ptrdiff_t>(most), labels.end(),
        [&](const Label& a, const Label& b) { return bound_of(a, node) < bound_of(b, node); });
    labels.resize(most);
    return false;
  }

  // All undominated walks side by side, node by node; where they are too many, the most promising.
  void search_labels() {
    bool complete = true;
    std::vector<std::vector<Label>> levels(1, {Label{}});
    for (uint32_t node = 0; node < chain_.node_count; ++node) {
      std::vector<Label> next;
      for (uint32_t parent = 0; parent < levels.back().size(); ++parent)
        for (uint32_t t = 0; t < chain_.state_count; ++t) {
          const Label& before = levels.back()[parent];
          const auto& step = chain_.step(node, before.state, t);
          if (!step) continue;
          Label label{before.amounts, t, parent};
          for (uint32_t a = 0; a < chain_.amount_count(); ++a) label.amounts[a] += (*step)[a];
          if (promising(label, node)) next.push_back(label);
        }
      const size_t most = kMaxLabels * chain_.state_count;
      complete &= keep_most_promising(next, 8 * most, node);
      drop_dominated(next);
      complete &= keep_most_promising(next, most, node);
      levels.push_back(std::move(next));
    }
    take_best(levels);
    // Every walk left out was no better than the best by more than the tolerance.
    if (complete && !best_.states.empty())
      bound_ = std::max(bound_, best_.objective * (1 - tolerance_ - kRounding));
  }

  void take_best(const std::vector<std::vector<Label>>& levels) {
    const auto least = std::min_element(levels.back().begin(), levels.back().end(),
                                        [&](const Label& a, const Label& b) {
                                          return largest_load(a.amounts) < largest_load(b.amounts);
                                        });
    if (least == levels.back().end()) return;
    best_.states.assign(chain_.node_count, 0);
    best_.amounts = least->amounts;
    best_.objective = largest_load(least->amounts);
    auto index = static_cast<size_t>(least - levels.back().begin());
    for (uint32_t node = chain_.node_count; node-- > 0;) {
      const Label& label = levels[node + 1][index];
      best_.states[node] = label.state;
      index = label.parent;
    }
  }

  const Chain& chain_;
  double tolerance_;
  Walk best_;                  // no states while none is known
  double bound_ = -kInfinity;  // at prices_, whose shortest() filled rest_
  Prices prices_{};
  std::vector<double> rest_;
};

}  // namespace

std::optional<Walk> best_walk(const Chain& chain, double tolerance) {
  TANDEM_CHECK(chain.node_count > 0 && chain.load_count > 0, "an empty chain");
  TANDEM_CHECK(chain.amount_count() <= kMaxAmounts, "%u amounts", chain.amount_count());
  return Search(chain, tolerance).run();
}

}  // namespace tandem
