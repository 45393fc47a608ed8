// SPDX-License-Identifier: Apache-2.0
#include "model/sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/error.h"

namespace tandem {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr size_t kBlockSize = 128;

void require(bool holds, std::string_view name, float value, std::string_view range) {
  if (!holds)
    throw Error(ErrorCode::kUsage, fmt::format("{} is {}; it must be {}", name, value, range));
}

bool is_fraction(float value) { return value >= 0.0F && value <= 1.0F; }

[[noreturn]] void throw_no_choice(std::span<const float> logits) {
  const auto bad =
      std::find_if_not(logits.begin(), logits.end(), [](float x) { return x < kInfinity; });
  throw Error(ErrorCode::kInternal,
              bad == logits.end()
                  ? "the model rules out every token (all logits are -infinity); run again with "
                    "TANDEM_CHECK=1 to find the block that goes wrong"
                  : fmt::format("the model computed {} as the logit of token {}; run again with "
                                "TANDEM_CHECK=1 to find the block that goes wrong",
                                *bad, bad - logits.begin()));
}

// The largest of the logits of a block; NaN when one of them is NaN or +infinity. In lanes, which
// compilers turn into vectors: one running maximum would wait for itself at every logit.
float max_of_block(std::span<const float> block) {
  constexpr size_t kLanes = 16;
  std::array<float, kLanes> max;
  std::array<int32_t, kLanes> invalid = {};
  max.fill(-kInfinity);
  const auto look_at = [&](float logit, size_t lane) {
    max[lane] = logit > max[lane] ? logit : max[lane];
    invalid[lane] |= static_cast<int32_t>(!(logit < kInfinity));
  };
  const size_t whole = block.size() / kLanes * kLanes;
  for (size_t i = 0; i < whole; i += kLanes)
    for (size_t lane = 0; lane < kLanes; ++lane) look_at(block[i + lane], lane);
  for (size_t i = whole; i < block.size(); ++i) look_at(block[i], i - whole);
  const bool valid = std::count(invalid.begin(), invalid.end(), 0) == kLanes;
  return valid ? *std::max_element(max.begin(), max.end())
               : std::numeric_limits<float>::quiet_NaN();
}

std::span<const float> block_of(std::span<const float> logits, size_t index) {
  const size_t begin = index * kBlockSize;
  return logits.subspan(begin, std::min(kBlockSize, logits.size() - begin));
}

// [0, 1), in steps of 2^-53.
double uniform(std::mt19937_64& random) { return static_cast<double>(random() >> 11) * 0x1.0p-53; }

}  // namespace

void validate(const SamplerOptions& options) {
  require(options.repetition_penalty > 0.0F && options.repetition_penalty < kInfinity,
          "repetition penalty", options.repetition_penalty, "above 0 (1 turns it off)");
  require(is_fraction(options.top_p), "top-p", options.top_p, "between 0 and 1 (1 turns it off)");
  require(is_fraction(options.min_p), "min-p", options.min_p, "between 0 and 1 (0 turns it off)");
  require(options.temperature >= 0.0F && options.temperature < kInfinity, "temperature",
          options.temperature, "0 (always the most likely token) or above");
}

Sampler::Sampler(const SamplerOptions& options, size_t vocab_size)
    : options_(options), vocab_size_(vocab_size), random_(options.seed) {
  TANDEM_CHECK(vocab_size > 0, "no tokens to choose from");
  validate(options);
  if (options_.top_k >= vocab_size) options_.top_k = 0;
  if (options_.repetition_penalty == 1.0F) options_.repetition_window = 0;
  recent_.reserve(options_.repetition_window);
  distinct_.reserve(options_.repetition_window);
  block_max_.resize((vocab_size + kBlockSize - 1) / kBlockSize);
  candidates_.reserve(options_.top_k > 0 ? options_.top_k : vocab_size);
}

int32_t Sampler::sample(std::span<float> logits) {
  TANDEM_CHECK(logits.size() == vocab_size_, "%zu logits for %zu tokens", logits.size(),
               vocab_size_);
  penalise_recent(logits);
  const auto best = find_best(logits);
  int32_t choice = best.id;
  if (options_.temperature > 0.0F) {
    if (options_.top_k > 0)
      keep_top_k(logits);
    else
      keep_all(logits);
    if (options_.top_p < 1.0F) keep_top_p(best.logit);
    choice = draw(best.logit);
  }
  accept(choice);
  return choice;
}

void Sampler::accept(int32_t token) {
  TANDEM_CHECK(token >= 0 && static_cast<size_t>(token) < vocab_size_, "no token %d", token);
  if (options_.repetition_window == 0) return;
  if (recent_.size() < options_.repetition_window) {
    recent_.push_back(token);
    return;
  }
  recent_[oldest_] = token;
  oldest_ = (oldest_ + 1) % recent_.size();
}

void Sampler::reset() {
  random_.seed(options_.seed);
  recent_.clear();
  oldest_ = 0;
}

// A strict order, so that sorting by it has one result.
bool Sampler::is_likelier(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

void Sampler::penalise_recent(std::span<float> logits) {
  distinct_.assign(recent_.begin(), recent_.end());
  std::sort(distinct_.begin(), distinct_.end());
  distinct_.erase(std::unique(distinct_.begin(), distinct_.end()), distinct_.end());
  const float penalty = options_.repetition_penalty;
  for (const int32_t token : distinct_) {
    float& logit = logits[static_cast<size_t>(token)];
    logit = logit > 0.0F ? logit / penalty : logit * penalty;
  }
}

Sampler::Candidate Sampler::find_best(std::span<const float> logits) {
  bool valid = true;
  for (size_t i = 0; i < block_max_.size(); ++i) {
    block_max_[i] = max_of_block(block_of(logits, i));
    valid &= !std::isnan(block_max_[i]);
  }
  const auto max = std::max_element(block_max_.begin(), block_max_.end());
  if (!valid || *max == -kInfinity) throw_no_choice(logits);
  const auto index = static_cast<size_t>(max - block_max_.begin());
  const std::span<const float> block = block_of(logits, index);
  const auto place =
      static_cast<size_t>(std::find(block.begin(), block.end(), *max) - block.begin());
  return {*max, static_cast<int32_t>(index * kBlockSize + place), 0.0F};
}

// A heap of the k best so far, the worst of them in front: most blocks fail one comparison.
void Sampler::keep_top_k(std::span<const float> logits) {
  candidates_.clear();
  const auto is_beaten = [&](float logit) {
    return candidates_.size() == options_.top_k && logit <= candidates_.front().logit;
  };
  for (size_t i = 0; i < block_max_.size(); ++i) {
    if (is_beaten(block_max_[i])) continue;
    auto id = static_cast<int32_t>(i * kBlockSize);
    for (const float logit : block_of(logits, i)) {
      const Candidate candidate = {logit, id++, 0.0F};
      if (is_beaten(logit)) continue;
      if (candidates_.size() == options_.top_k) {
        std::pop_heap(candidates_.begin(), candidates_.end(), is_likelier);
        candidates_.pop_back();
      }
      candidates_.push_back(candidate);
      std::push_heap(candidates_.begin(), candidates_.end(), is_likelier);
    }
  }
  std::sort(candidates_.begin(), candidates_.end(), is_likelier);
}

void Sampler::keep_all(std::span<const float> logits) {
  candidates_.clear();
  for (size_t id = 0; id < logits.size(); ++id)
    candidates_.push_back({logits[id], static_cast<int32_t>(id), 0.0F});
}

// Takes the likeliest from a heap until they have the probability asked for, at least one: few of
// many, so nothing is sorted that is then dropped.
void Sampler::keep_top_p(float max_logit) {
  double total = 0.0;
  for (Candidate& candidate : candidates_) {
    candidate.weight = std::exp(candidate.logit - max_logit);
    total += static_cast<double>(candidate.weight);
  }
  const auto is_less_likely = [](const Candidate& a, const Candidate& b) {
    return is_likelier(b, a);
  };
  const auto begin = candidates_.begin();
  auto kept = candidates_.end();
  std::make_heap(begin, kept, is_less_likely);
  const double wanted = static_cast<double>(options_.top_p) * total;
  double sum = 0.0;
  do {
    std::pop_heap(begin, kept, is_less_likely);
    --kept;
    sum += static_cast<double>(kept->weight);
  } while (sum < wanted && kept != begin);
  candidates_.erase(begin, kept);
}

int32_t Sampler::draw(float max_logit) {
  // min-p: a probability relative to the largest is a difference of logits.
  const float lowest = max_logit + std::log(options_.min_p);
  double total = 0.0;
  for (Candidate& candidate : candidates_) {
    const bool is_kept = candidate.logit >= lowest;
    candidate.weight =
        is_kept ? std::exp((candidate.logit - max_logit) / options_.temperature) : 0.0F;
    total += static_cast<double>(candidate.weight);
  }
  double rest = uniform(random_) * total;
  int32_t choice = 0;
  for (const Candidate& candidate : candidates_) {
    if (candidate.weight == 0.0F) continue;
    choice = candidate.id;  // stays the last one, should rounding leave a rest
    rest -= static_cast<double>(candidate.weight);
    if (rest < 0.0) break;
  }
  return choice;
}

}  // namespace tandem
