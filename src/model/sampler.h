// Choosing the next token from a model's logits.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

namespace tandem {

// Applied in this order, temperature last, which is llama.cpp's default chain. The defaults are
// what Gemma 3 recommends.
struct SamplerOptions {
  float repetition_penalty = 1.0F;  // > 0; logits of recent tokens: divided if positive, else times
  uint32_t repetition_window = 64;  // how many tokens are recent
  uint32_t top_k = 64;              // keep the k most likely; 0: all
  float top_p = 0.95F;  // [0, 1]; keep the most likely until they have this probability; 1: all
  float min_p = 0.0F;   // [0, 1]; keep those at least this likely relative to the most likely
  float temperature = 1.0F;  // >= 0; 0: always the most likely, the lowest id on ties
  uint64_t seed = 0;
};

// Throws kUsage naming the option that is out of range.
void validate(const SamplerOptions& options);

// The same options, logits and accepted tokens give the same choices, with any standard library:
// the random numbers are std::mt19937_64's, which the C++ standard fixes bit for bit.
class Sampler {
 public:
  // Throws kUsage like validate. Nothing is allocated after this.
  Sampler(const SamplerOptions& options, size_t vocab_size);

  // Chooses from `logits` ([vocab_size], changed in place by the penalty) and accepts the choice.
  // Throws kInternal when no choice exists: a NaN or +infinity, or nothing but -infinity.
  int32_t sample(std::span<float> logits);

  // Counts a token as recent, for tokens that were not sampled: those of the prompt.
  void accept(int32_t token);

  // As constructed.
  void reset();

 private:
  struct Candidate {
    float logit;
    int32_t id;
    float weight;  // proportional to its probability
  };

  static bool is_likelier(const Candidate& a, const Candidate& b);
  void penalise_recent(std::span<float> logits);
  // The likeliest, the lowest id on ties; fills block_max_. Throws when there is none.
  Candidate find_best(std::span<const float> logits);
  void keep_top_k(std::span<const float> logits);
  void keep_all(std::span<const float> logits);
  void keep_top_p(float max_logit);
  int32_t draw(float max_logit);

  SamplerOptions options_;
  size_t vocab_size_;
  std::mt19937_64 random_;
  std::vector<int32_t> recent_;    // a ring of repetition_window tokens
  size_t oldest_ = 0;              // where the ring is written next, once full
  std::vector<int32_t> distinct_;  // the tokens of `recent_`, each once
  std::vector<float> block_max_;   // of each block of logits, for one look at most of them
  std::vector<Candidate> candidates_;
};

}  // namespace tandem
