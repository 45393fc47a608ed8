// Results of an independent implementation (transformers, float32), as the golden tests read them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace tandem {

struct ReferencePrompt {
  std::string text;
  std::vector<int32_t> ids;
  std::vector<int32_t> argmax;             // at every position
  std::vector<uint32_t> kept;              // positions whose logits are kept
  std::vector<std::vector<float>> logits;  // [kept, vocab]; empty without a .f32 file
  std::vector<int32_t> greedy;             // continuation
  std::vector<double> margins;             // of each greedy token over the second best
};

struct Reference {
  std::string model;  // file name
  uint32_t vocab = 0;
  double perplexity = 0;  // 0 when not computed
  std::vector<ReferencePrompt> prompts;
};

// Reads `json` and the .f32 rows beside it, if there are any. Throws Error.
Reference read_reference(const std::filesystem::path& json);

// Kullback-Leibler divergence of softmax(got) from softmax(want), in nats.
double divergence(std::span<const float> want, std::span<const float> got);

// Largest |got - want| over the largest |want|.
double relative_error(std::span<const float> want, std::span<const float> got);

// The folder of assets outside the project (TANDEM_TEST_ASSETS).
std::filesystem::path test_assets();

}  // namespace tandem
