// SPDX-License-Identifier: Apache-2.0
#include "model/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "model/test_vocabulary.h"

namespace tandem {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

constexpr SamplerOptions kGreedy = {.temperature = 0.0F};
constexpr SamplerOptions kUnfiltered = {.top_k = 0, .top_p = 1.0F};

int32_t sample_from(Sampler& sampler, std::vector<float> logits) { return sampler.sample(logits); }

std::vector<float> random_logits(size_t count, std::mt19937_64& random) {
  std::normal_distribution<float> distribution(0.0F, 2.0F);
  std::vector<float> logits(count);
  for (float& logit : logits) logit = distribution(random);
  return logits;
}

TEST(Sampler, TakesTheLowestOfTheLikeliestWhenGreedy) {
  Sampler sampler(kGreedy, 5);
  EXPECT_EQ(sample_from(sampler, {-1, 3, 0, 3, -kInfinity}), 1);
  EXPECT_EQ(sample_from(sampler, {-7, -9, -kInfinity, -8, -6}), 4);
}

TEST(Sampler, DividesPositiveLogitsOfRecentTokensAndMultipliesOthers) {
  SamplerOptions options = kGreedy;
  options.repetition_penalty = 2.0F;
  Sampler sampler(options, 4);
  for (const int32_t token : {0, 2, 0}) sampler.accept(token);
  std::vector<float> logits = {3.0F, 1.0F, -1.0F, -1.5F};
  EXPECT_EQ(sampler.sample(logits), 0);
  EXPECT_THAT(logits, testing::ElementsAre(1.5F, 1.0F, -2.0F, -1.5F));
}

TEST(Sampler, ForgetsTokensBeyondTheWindow) {
  SamplerOptions options = kGreedy;
  options.repetition_penalty = 4.0F;
  options.repetition_window = 2;
  Sampler sampler(options, 4);
  EXPECT_EQ(sample_from(sampler, {4, 3, 2, 1.5F}), 0);
  EXPECT_EQ(sample_from(sampler, {4, 3, 2, 1.5F}), 1);
  EXPECT_EQ(sample_from(sampler, {4, 3, 2, 1.5F}), 2);
  EXPECT_EQ(sample_from(sampler, {4, 3, 2, 1.5F}), 0);
  sampler.reset();
  EXPECT_EQ(sample_from(sampler, {4, 3, 2, 1.5F}), 0);
}

// The chain by its definition: sort, cut, normalise, in double.
std::vector<double> probabilities(const std::vector<float>& logits, const SamplerOptions& options) {
  std::vector<size_t> order(logits.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  if (options.top_k > 0) order.resize(std::min<size_t>(order.size(), options.top_k));
  const auto weigh = [&](double temperature) {
    std::vector<double> weights(logits.size(), 0.0);
    double total = 0.0;
    for (const size_t id : order)
      total += weights[id] = std::exp(static_cast<double>(logits[id]) / temperature);
    for (double& weight : weights) weight /= total;
    return weights;
  };
  const std::vector<double> plain = weigh(1.0);
  size_t kept = 0;
  for (double sum = 0.0; kept < order.size();) {
    sum += plain[order[kept++]];
    if (sum >= static_cast<double>(options.top_p)) break;
  }
  order.resize(kept);
  const double lowest = static_cast<double>(options.min_p) * plain[order[0]];
  order.erase(
      std::remove_if(order.begin(), order.end(), [&](size_t id) { return plain[id] < lowest; }),
      order.end());
  return weigh(static_cast<double>(options.temperature));
}

TEST(Sampler, DrawsWithTheProbabilitiesOfTheChain) {
  constexpr int kDraws = 20'000;
  const SamplerOptions cases[] = {
      kUnfiltered,
      {},
      {.top_k = 5, .top_p = 1.0F},
      {.top_k = 0, .top_p = 0.7F},
      {.top_k = 8, .top_p = 0.8F, .temperature = 0.6F},
      {.top_k = 0, .top_p = 1.0F, .min_p = 0.1F},
      {.top_k = 20, .top_p = 0.9F, .min_p = 0.05F, .temperature = 1.7F},
      {.top_k = 0, .top_p = 0.0F},
  };
  std::mt19937_64 random = test_random();
  const std::vector<float> logits = random_logits(50, random);
  for (const SamplerOptions& options : cases) {
    const std::vector<double> expected = probabilities(logits, options);
    std::vector<int> counts(logits.size());
    Sampler sampler(options, logits.size());
    for (int i = 0; i < kDraws; ++i) ++counts[static_cast<size_t>(sample_from(sampler, logits))];
    for (size_t id = 0; id < logits.size(); ++id) {
      const double p = expected[id];
      const double deviation = std::sqrt(kDraws * p * (1 - p));
      // Six standard deviations: a correct sampler passes but for one seed in millions.
      EXPECT_NEAR(counts[id], kDraws * p, 6 * deviation + 0.01)
          << "token " << id << ", case " << &options - cases;
    }
  }
}

TEST(Sampler, KeepsTheLikeliestOfALargeVocabulary) {
  constexpr size_t kVocabulary = 262'144;
  std::mt19937_64 random = test_random();
  std::vector<float> logits = random_logits(kVocabulary, random);
  logits[7] = logits[50'000] = logits[90'000] = 20.0F;
  logits[30'000] = 19.0F;
  logits[2] = logits[262'143] = 18.5F;  // tie for the fifth place
  Sampler sampler({.top_k = 5, .top_p = 1.0F}, kVocabulary);
  std::set<int32_t> seen;
  for (int i = 0; i < 100; ++i) seen.insert(sampler.sample(logits));
  EXPECT_EQ(seen, (std::set<int32_t>{2, 7, 30'000, 50'000, 90'000}));
}

TEST(Sampler, DrawsTheNumbersThatTheStandardPrescribes) {
  SamplerOptions options = kUnfiltered;
  options.seed = 12345;
  Sampler sampler(options, 2);
  std::mt19937_64 random(12345);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(sample_from(sampler, {0, 0}), random() >> 63);
}

TEST(Sampler, RepeatsItselfFromTheSameSeed) {
  std::mt19937_64 random = test_random();
  const std::vector<float> logits = random_logits(1000, random);
  const auto run = [&](Sampler& sampler) {
    std::vector<int32_t> tokens(50);
    for (int32_t& token : tokens) token = sample_from(sampler, logits);
    return tokens;
  };
  Sampler one({.repetition_penalty = 1.3F, .seed = 5}, 1000);
  Sampler other({.repetition_penalty = 1.3F, .seed = 6}, 1000);
  const std::vector<int32_t> tokens = run(one);
  EXPECT_NE(run(other), tokens);
  one.reset();
  EXPECT_EQ(run(one), tokens);
}

TEST(Sampler, RefusesLogitsWithoutAChoice) {
  for (const SamplerOptions& options : {kGreedy, SamplerOptions()}) {
    Sampler sampler(options, 3);
    for (const std::vector<float>& logits : {std::vector<float>{0, std::nanf(""), 1},
                                             {0, 1, kInfinity},
                                             {-kInfinity, -kInfinity, -kInfinity}})
      EXPECT_EQ(thrown_code([&] { sample_from(sampler, logits); }), ErrorCode::kInternal);
    EXPECT_EQ(sample_from(sampler, {-kInfinity, -5, -kInfinity}), 1);
  }
}

TEST(Sampler, RefusesOptionsOutOfRange) {
  const float nan = std::nanf("");
  for (const SamplerOptions& options : std::initializer_list<SamplerOptions>{
           {.repetition_penalty = 0.0F},
           {.repetition_penalty = -1.0F},
           {.repetition_penalty = kInfinity},
           {.repetition_penalty = nan},
           {.top_p = -0.1F},
           {.top_p = 1.1F},
           {.top_p = nan},
           {.min_p = -0.1F},
           {.min_p = 1.5F},
           {.min_p = nan},
           {.temperature = -1.0F},
           {.temperature = kInfinity},
           {.temperature = nan},
       })
    EXPECT_EQ(thrown_code([&] { Sampler sampler(options, 3); }), ErrorCode::kUsage);
  try {
    validate({.top_p = 2.0F});
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "top-p is 2; it must be between 0 and 1 (1 turns it off)");
  }
}

}  // namespace
}  // namespace tandem
