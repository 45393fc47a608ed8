// Runs a whole model and compares it with an independent implementation's results; what the golden
// tests of all devices share.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <filesystem>

#include "engine/engine.h"
#include "golden/reference.h"

namespace tandem {

// Bounds of a whole model. Unquantised weights: float32 rounding with an f32 cache, the rounding
// of keys and values to 11 bits with an f16 one. Quantised weights: activations are int8 in groups
// of 32, which costs about 1.1e-3 nats when every product uses it.
inline constexpr double kF32CacheError = 5e-5, kF16CacheError = 2e-3;
inline constexpr double kQuantisedDivergence = 3e-3, kQ8CacheDivergence = 1e-3;
inline constexpr double kPerplexityShare = 0.01;
// Logit error of a quantised model, as a share of the row's largest magnitude, for judging whether
// two candidates are too close to call: the largest of the kept rows was below it.
inline constexpr double kQuantisedMarginShare = 0.06;

struct Outcome {
  double worst_error = 0;      // relative, over the kept rows
  double mean_divergence = 0;  // over the kept rows; 0 where the reference keeps none
  size_t wrong_argmax = 0;     // where the margin exceeded twice the bound
};

EngineOptions options_for(uint32_t context, DType kv);

// Runs every prompt, all its positions being outputs, and compares the kept rows; `bound` is what a
// logit may be off, relative to its row's largest magnitude. The context is as long as the longest
// prompt.
Outcome compare(const Reference& reference, const std::filesystem::path& model,
                EngineOptions options, double bound);

// Greedy continuation of the prompts that fit the context, equal while the reference's margin
// exceeds what the logits may be off; as many tokens a submit as options.max_rounds says.
void expect_greedy(const Reference& reference, const std::filesystem::path& model,
                   const EngineOptions& options);

// The same for the first `sequences` of those prompts, decoded together.
void expect_greedy_together(const Reference& reference, const std::filesystem::path& model,
                            EngineOptions options, uint32_t sequences);

// An asset's reference, or a skip that names it.
#define TANDEM_REQUIRE_ASSET(path) \
  if (!std::filesystem::exists(path)) GTEST_SKIP() << (path) << " is not there (TANDEM_TEST_ASSETS)"

}  // namespace tandem
