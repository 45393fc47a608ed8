// Sequences that decode together on a GPU, in steps of a few rows, against each alone; dispatches
// ordered by barriers and by waiting for each other.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "hybrid/rig.h"
#include "vulkan/vulkan_backend.h"

namespace tandem {
namespace {

constexpr uint32_t kRounds = 2, kSteps = 2;

using Logits = std::vector<std::vector<float>>;

// A prompt and what follows it; each prompt has a length of its own.
std::vector<uint32_t> tokens_of(uint32_t prompt) {
  return some_tokens(9 + 4 * prompt + kSteps, prompt);
}

// The row of a prompt's sequence in a step after it.
StepRow row_of(uint32_t prompt, uint32_t step, uint32_t row) {
  const std::vector<uint32_t> tokens = tokens_of(prompt);
  const uint32_t position = static_cast<uint32_t>(tokens.size()) - kSteps + step;
  return {tokens[position], row, position, true};
}

// A coordinator over the Vulkan device as `tuning` changes it.
class Decoder {
 public:
  Decoder(const std::string& tuning, uint32_t sequences)
      : device_(make_vulkan_backend({.device = "0", .tuning = tuning})) {
    CoordinatorShape shape = short_steps();
    shape.sequences = shape.max_outputs = sequences;
    shape.max_rounds = kRounds;
    Backend* const backend = device_.get();
    const LoadedModel& model = tiny_model();
    coordinator_ = std::make_unique<Coordinator>(model.config, model.weights,
                                                 std::span(&backend, 1), plan_of(model, 1), shape);
  }

  // The first prompts, from number `first` on, one for each sequence.
  void read_prompts(uint32_t first) {
    first_ = first;
    for (uint32_t i = 0; i < coordinator_->shape().sequences; ++i) {
      std::vector<uint32_t> tokens = tokens_of(first + i);
      tokens.resize(tokens.size() - kSteps);
      prefill(*coordinator_, tokens, coordinator_->shape().max_rows, i);
    }
  }

  // The logits of the first `count` sequences after their next tokens.
  Logits decode(uint32_t step, uint32_t count) {
    coordinator_->run(rows_at(step, count), Tail::kNone);
    Logits logits;
    for (uint32_t i = 0; i < count; ++i) logits.push_back(copy_of(coordinator_->logits(i)));
    return logits;
  }

  // What they choose in several rounds.
  std::vector<int32_t> choose(uint32_t step, uint32_t count) {
    coordinator_->run(rows_at(step, count), Tail::kArgmax, kRounds);
    std::vector<int32_t> ids;
    for (uint32_t round = 0; round < kRounds; ++round)
      for (uint32_t i = 0; i < count; ++i) ids.push_back(coordinator_->ids(round)[i]);
    return ids;
  }

 private:
  std::vector<StepRow> rows_at(uint32_t step, uint32_t count) const {
    std::vector<StepRow> rows;
    for (uint32_t i = 0; i < count; ++i) rows.push_back(row_of(first_ + i, step, i));
    return rows;
  }

  std::unique_ptr<Backend> device_;
  std::unique_ptr<Coordinator> coordinator_;
  uint32_t first_ = 0;
};

class FewRows : public ::testing::TestWithParam<uint32_t> {};

// Only the order of sums in norms differs, which may round an int8 the other way.
TEST_P(FewRows, GiveTheLogitsOfEachAlone) {
  Decoder together("chained=0", GetParam()), one("chained=0", 1);
  together.read_prompts(0);
  const Logits logits = together.decode(0, GetParam());
  for (uint32_t i = 0; i < GetParam(); ++i) {
    one.read_prompts(i);
    const std::vector<float> alone = one.decode(0, 1)[0];
    float largest = 0;
    for (float value : alone) largest = std::max(largest, std::fabs(value));
    for (size_t j = 0; j < alone.size(); ++j)
      ASSERT_NEAR(logits[i][j], alone[j], 2e-2f * largest) << "sequence " << i << ", logit " << j;
  }
}

// In the second step the last sequence has no row: its workgroups must not hold the others up.
TEST_P(FewRows, GiveTheSameWhereDispatchesWaitForEachOther) {
  Decoder ordered("chained=0", GetParam()), chained("chained=1", GetParam());
  ordered.read_prompts(0);
  chained.read_prompts(0);
  EXPECT_EQ(ordered.decode(0, GetParam()), chained.decode(0, GetParam()));
  EXPECT_EQ(ordered.choose(1, GetParam() - 1), chained.choose(1, GetParam() - 1));
}

INSTANTIATE_TEST_SUITE_P(Sequences, FewRows, ::testing::Values(2, 7),
                         ::testing::PrintToStringParamName());

}  // namespace
}  // namespace tandem
