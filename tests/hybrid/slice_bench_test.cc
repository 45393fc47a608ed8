// A few layers of a model on one device: which they are, and the passes through them.
// SPDX-License-Identifier: Apache-2.0
#include "hybrid/slice_bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "cpu/cpu_backend.h"
#include "hybrid/rig.h"
#include "support/staged_backend.h"

namespace tandem {
namespace {

using ::testing::HasSubstr;

// Counts what is submitted, and runs no FFN.
class CountingBackend : public StagedBackend {
 public:
  explicit CountingBackend(Backend& inner) : StagedBackend(inner, "counting") {}
  Support supports(const OpSpec& spec) const override {
    if (spec.op == Op::kFfn || spec.op == Op::kGeglu) return {false, "it has no FFN"};
    return StagedBackend::supports(spec);
  }
  Ticket submit(Program& program, uint32_t rounds) noexcept override {
    ++submits;
    return StagedBackend::submit(program, rounds);
  }
  uint32_t submits = 0;
};

TEST(Slice, HasLayersOfBothKindsInTheModelsShares) {
  ModelConfig config;
  config.layers.resize(62);
  for (size_t i = 0; i < config.layers.size(); ++i) config.layers[i].window = i % 6 == 5 ? 0 : 1024;
  const auto globals_of = [&](const std::vector<uint16_t>& layers) {
    return std::count_if(layers.begin(), layers.end(),
                         [](uint16_t layer) { return layer % 6 == 5; });
  };
  const std::vector<uint16_t> few = some_layers(config, 4), many = some_layers(config, 31);
  EXPECT_EQ(few.size(), 4u);
  EXPECT_EQ(globals_of(few), 1);
  EXPECT_EQ(many.size(), 31u);
  EXPECT_EQ(globals_of(many), 5);
  EXPECT_TRUE(std::is_sorted(many.begin(), many.end()));
  EXPECT_GT(many.back(), 50);
  EXPECT_EQ(some_layers(config, 100).size(), 62u);
}

TEST(Slice, OfASmallModelIsTheModel) {
  const Slice slice = slice_of(tiny_model().config, tiny_model().weights);
  ASSERT_EQ(slice.layers.size(), tiny_model().config.layers.size());
  for (size_t i = 0; i < slice.layers.size(); ++i) EXPECT_EQ(slice.layers[i], i);
}

TEST(SliceBench, TakesWholePassesAndPassesWithout) {
  const auto cpu = cpu::make_cpu_backend({1, ""});
  const Slice slice = slice_of(tiny_model().config, tiny_model().weights);
  SliceBench bench(*cpu, slice, tiny_model().weights, short_steps());
  const auto layers = static_cast<uint32_t>(slice.layers.size());
  EXPECT_EQ(bench.count(NodeKind::kFfn), layers);
  EXPECT_EQ(bench.count(NodeKind::kCoreWindowed) + bench.count(NodeKind::kCoreGlobal), layers);
  EXPECT_EQ(bench.count(NodeKind::kHead), 1u);
  EXPECT_EQ(bench.record(Phase::kDecode, std::nullopt).size(), 1u);
  EXPECT_EQ(bench.record(Phase::kDecode, Op::kFfn).size(), 1u);
  // The choice of the token is a program too.
  EXPECT_EQ(bench.record_apart(Phase::kDecode).size(), 4 * layers + 3);
  EXPECT_EQ(bench.record_apart(Phase::kPrefill).size(), 4 * layers + 2);
  bench.set_step(Phase::kPrefill, 7, 3);
  EXPECT_GT(bench.run_us(bench.record(Phase::kPrefill, std::nullopt)), 0);
}

TEST(SliceBench, LeavesOutWhatADeviceRefuses) {
  const auto cpu = cpu::make_cpu_backend({1, ""});
  CountingBackend device(*cpu);
  const Slice slice = slice_of(tiny_model().config, tiny_model().weights);
  SliceBench bench(device, slice, tiny_model().weights, short_steps());
  const auto layers = static_cast<uint32_t>(slice.layers.size());
  EXPECT_THAT(bench.refusal(NodeKind::kFfn, Phase::kDecode), HasSubstr("it has no FFN"));
  EXPECT_FALSE(bench.supports(Op::kFfn, Phase::kDecode));
  EXPECT_TRUE(bench.refusal(NodeKind::kQkv, Phase::kDecode).empty());
  EXPECT_TRUE(bench.supports(Op::kQkv, Phase::kDecode));
  EXPECT_EQ(bench.weight_size(NodeKind::kFfn), 0u);
  EXPECT_GT(bench.weight_size(NodeKind::kQkv), 0u);
  bench.set_step(Phase::kDecode, 1, 5);
  bench.run_us(bench.record_apart(Phase::kDecode));
  EXPECT_EQ(device.submits, 3 * layers + 3);
}

}  // namespace
}  // namespace tandem
