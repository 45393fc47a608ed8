// The coordinator over devices with memory of their own: what is copied, in which order steps run,
// and what is left after a failure.
// SPDX-License-Identifier: Apache-2.0
#include "hybrid/coordinator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "base/error.h"
#include "cpu/cpu_backend.h"
#include "hybrid/rig.h"
#include "support/staged_backend.h"

namespace tandem {
namespace {

using ::testing::HasSubstr;

constexpr uint32_t kGenerated = 5;  // tokens after a prompt

// Devices that compute alike, so that any plan gives the same bits; each works at its own time.
class Devices {
 public:
  explicit Devices(uint32_t staged_count) {
    add_cpu();
    for (uint32_t i = 0; i < staged_count; ++i) {
      add_cpu();
      staged_.push_back(std::make_unique<StagedBackend>(*cpus_.back(), "gpu" + std::to_string(i)));
    }
  }
  // The CPU first, then the staged devices.
  std::vector<Backend*> all() {
    std::vector<Backend*> list = {cpus_.front().get()};
    for (const auto& device : staged_) list.push_back(device.get());
    return list;
  }
  StagedBackend& staged(size_t index) { return *staged_[index]; }

 private:
  void add_cpu() { cpus_.push_back(cpu::make_cpu_backend({1, ""})); }
  std::vector<std::unique_ptr<Backend>> cpus_;
  std::vector<std::unique_ptr<StagedBackend>> staged_;
};

CoordinatorShape small_shape(uint32_t slots = 1, uint32_t sequences = 1) {
  CoordinatorShape shape;
  shape.max_rows = 16;
  shape.max_outputs = sequences;
  shape.max_rounds = 8;
  shape.context = 128;
  shape.sequences = sequences;
  shape.kv = DType::kF32;
  shape.slots = slots;
  return shape;
}

uint32_t draw(std::mt19937& random, uint32_t count) {
  return static_cast<uint32_t>(random() % count);
}

Plan random_plan(uint32_t device_count, std::mt19937& random) {
  Plan plan = plan_of(tiny_model(), device_count);
  for (auto* devices : {&plan.prefill, &plan.decode})
    for (uint32_t& device : *devices) device = draw(random, device_count);
  return plan;
}

std::vector<std::vector<float>> logits_on_one_cpu(uint32_t prompt, uint32_t chunk) {
  Devices devices(0);
  Coordinator coordinator(tiny_model().config, tiny_model().weights, devices.all(),
                          plan_of(tiny_model(), 1), small_shape());
  return logits_of(coordinator, prompt, chunk, kGenerated);
}

TEST(Coordinator, AnyPlanAndDepthGivesTheSameBits) {
  std::mt19937 random(7);
  for (int i = 0; i < 6; ++i) {
    const uint32_t chunk = 3 + draw(random, 14), slots = 1 + draw(random, 3);
    // No single row is left for the end: alone it would be a decode step.
    const uint32_t prompt = chunk * (1 + draw(random, 5)) + 2;
    const uint32_t staged = 1 + draw(random, 2);
    SCOPED_TRACE(testing::Message() << "plan " << i << ", prompt " << prompt << ", chunk " << chunk
                                    << ", slots " << slots);
    Devices devices(staged);
    Coordinator coordinator(tiny_model().config, tiny_model().weights, devices.all(),
                            random_plan(1 + staged, random), small_shape(slots));
    EXPECT_EQ(logits_of(coordinator, prompt, chunk, kGenerated), logits_on_one_cpu(prompt, chunk));
  }
}

TEST(Coordinator, CopiesNothingOfACacheThatNobodyWrote) {
  Devices devices(1);
  Plan plan = plan_of(tiny_model(), 2);
  for (auto* of : {&plan.prefill, &plan.decode}) std::fill(of->begin(), of->end(), 1u);
  Coordinator coordinator(tiny_model().config, tiny_model().weights, devices.all(), plan,
                          small_shape());
  const std::vector<uint32_t> tokens = some_tokens(8);
  prefill(coordinator, tokens, 16);
  // The batch buffer in, one row of logits out.
  EXPECT_EQ(devices.staged(0).copied_in(), 9 * sizeof(BatchRow));
  EXPECT_EQ(devices.staged(0).copied_out(), 512 * sizeof(float));
  EXPECT_EQ(coordinator.use(Phase::kPrefill).devices[1].edges, 0u);
  EXPECT_EQ(coordinator.use(Phase::kPrefill).devices[1].staged_copies, 2u);
}

TEST(Coordinator, HandsOverOnlyTheRowsOfTheCacheInUse) {
  Devices devices(2);
  Plan plan = plan_of(tiny_model(), 3);
  std::fill(plan.prefill.begin(), plan.prefill.end(), 1u);
  std::fill(plan.decode.begin(), plan.decode.end(), 2u);
  Coordinator coordinator(tiny_model().config, tiny_model().weights, devices.all(), plan,
                          small_shape(1, 2));
  const std::vector<uint32_t> tokens = some_tokens(9);
  prefill(coordinator, tokens, 16);
  prefill(coordinator, tokens, 16, 1);
  coordinator.run(rows_of(std::span(tokens).first(1), 9), Tail::kNone);
  // Sequence 0 alone moved: 9 rows of keys and values in f32, 2 heads of 64, in 8 layers.
  const DeviceUse& use = coordinator.use(Phase::kDecode).devices[2];
  EXPECT_EQ(use.edges, 8u);
  EXPECT_EQ(use.edge_bytes, 8u * 9 * 2 * 2 * 64 * sizeof(float));
  // It stays there.
  coordinator.run(rows_of(std::span(tokens).first(1), 10), Tail::kNone);
  EXPECT_EQ(use.edges, 8u);
}

TEST(Coordinator, CountsWhatEachDeviceDid) {
  Devices devices(1);
  Plan plan = plan_of(tiny_model(), 2);
  for (size_t i = 0; i < plan.prefill.size(); ++i)  // every FFN on the staged device
    if (forward_pass(8)[i].op == Op::kFfn) plan.prefill[i] = 1;
  Coordinator coordinator(tiny_model().config, tiny_model().weights, devices.all(), plan,
                          small_shape());
  prefill(coordinator, some_tokens(20), 10);
  const DeviceUse& cpu = coordinator.use(Phase::kPrefill).devices[0];
  const DeviceUse& gpu = coordinator.use(Phase::kPrefill).devices[1];
  EXPECT_EQ(cpu.tokens, 20u);
  EXPECT_EQ(gpu.tokens, 20u);
  EXPECT_EQ(gpu.nodes, 2u * 8);
  EXPECT_EQ(gpu.submits, 2u * 8);
  // The residual rows to it and back, for each layer and chunk.
  EXPECT_EQ(gpu.edges, 2u * 8);
  EXPECT_EQ(gpu.edge_bytes, 20u * 8 * 256 * sizeof(float));
  // The first chunk wants no logits: its rows do not come back for the head.
  EXPECT_EQ(cpu.edge_bytes, gpu.edge_bytes - 10 * 256 * sizeof(float));
  EXPECT_EQ(gpu.staged_bytes, devices.staged(0).copied_in() + devices.staged(0).copied_out());
  // Three matrices of 256 x 512, two operations a weight and row.
  EXPECT_EQ(gpu.operations, 20u * 8 * 2 * 3 * 256 * 512);
  EXPECT_GT(gpu.busy_ns, 0u);
  EXPECT_GE(coordinator.use(Phase::kPrefill).wall_ns, cpu.busy_ns + gpu.busy_ns);
  coordinator.reset_counters();
  EXPECT_EQ(coordinator.total_use().nodes, 0u);
  // The choice of the largest is no node of the plan.
  coordinator.run(rows_of(some_tokens(1), 20), Tail::kArgmax, 3);
  EXPECT_EQ(coordinator.use(Phase::kDecode).devices[0].nodes, 3u * 34);
}

// Says that every program would have taken a second.
class EmulatedDevice : public StagedBackend {
 public:
  explicit EmulatedDevice(Backend& inner) : StagedBackend(inner, "emulated"), info_(inner.info()) {
    info_.emulated = true;
  }
  const BackendInfo& info() const override { return info_; }
  Ticket submit(Program& program, uint32_t rounds) noexcept override {
    ++submits_;
    return StagedBackend::submit(program, rounds);
  }
  DeviceCounters device_counters() const override { return {0, double(submits_)}; }

 private:
  BackendInfo info_;
  uint32_t submits_ = 0;
};

TEST(Coordinator, KeepsThePhasesOfPredictedTimesApart) {
  const auto cpu = cpu::make_cpu_backend({1, ""});
  EmulatedDevice device(*cpu);
  Backend* const devices[] = {&device};
  Coordinator coordinator(tiny_model().config, tiny_model().weights, devices,
                          plan_of(tiny_model(), 1), small_shape());
  logits_of(coordinator, 20, 10, 5);
  EXPECT_EQ(coordinator.use(Phase::kPrefill).devices[0].predicted_seconds, 2);
  EXPECT_EQ(coordinator.use(Phase::kDecode).devices[0].predicted_seconds, 5);
}

TEST(Coordinator, GroupsOfSequencesDecodeSideBySideAsTheyDoAlone) {
  constexpr uint32_t kRounds = 6;
  Devices devices(1);
  Plan plan = plan_of(tiny_model(), 2);
  std::fill(plan.decode.begin() + 17, plan.decode.end(), 1u);  // from layer 4 on
  std::vector<std::vector<int32_t>> alone;
  for (uint32_t s = 0; s < 3; ++s) {
    Coordinator single(tiny_model().config, tiny_model().weights, devices.all(), plan,
                       small_shape());
    prefill(single, some_tokens(10, s), 16);
    single.run(rows_of(some_tokens(1, s), 10), Tail::kArgmax, kRounds);
    alone.emplace_back();
    for (uint32_t r = 0; r < kRounds; ++r) alone.back().push_back(single.ids(r)[0]);
  }
  Coordinator coordinator(tiny_model().config, tiny_model().weights, devices.all(), plan,
                          small_shape(3, 3));
  std::vector<std::vector<StepRow>> rows;
  std::vector<PipelineStep> steps;
  for (uint32_t s = 0; s < 3; ++s) {
    prefill(coordinator, some_tokens(10, s), 16, s);
    rows.push_back(rows_of(some_tokens(1, s), 10, s));
  }
  for (const auto& group : rows) steps.push_back({group, kRounds});
  EXPECT_EQ(coordinator.run_pipelined(steps, Phase::kDecode, Tail::kArgmax), 3u);
  for (uint32_t s = 0; s < 3; ++s)
    for (uint32_t r = 0; r < kRounds; ++r)
      EXPECT_EQ(coordinator.pipelined_ids(s, r)[0], alone[s][r]) << "sequence " << s;
}

TEST(Coordinator, AFailureNamesNodeAndDeviceAndTheNextRequestWorks) {
  for (uint32_t slots : {1u, 3u}) {
    Devices devices(1);
    Plan plan = plan_of(tiny_model(), 2);
    std::fill(plan.prefill.begin() + 17, plan.prefill.end(), 1u);
    plan.decode = plan.prefill;
    Coordinator coordinator(tiny_model().config, tiny_model().weights, devices.all(), plan,
                            small_shape(slots));
    const std::vector<uint32_t> tokens = some_tokens(98);
    const auto expected = logits_on_one_cpu(98, 16);
    prefill(coordinator, std::span(tokens).first(32), 16);
    devices.staged(0).fail_at(2);
    // Two of the next four chunks go well; rows in flight have passed the window by then.
    const std::vector<StepRow> rows = rows_of(std::span(tokens).subspan(32), 32);
    std::vector<PipelineStep> steps;
    for (size_t i = 0; i < rows.size(); i += 16)
      steps.push_back({std::span(rows).subspan(i, std::min<size_t>(16, rows.size() - i))});
    uint32_t finished = 0;
    try {
      if (slots > 1)
        coordinator.run_pipelined(steps, Phase::kPrefill, Tail::kNone, &finished);
      else
        for (const PipelineStep& step : steps) {
          coordinator.run(step.rows, Tail::kNone);
          ++finished;
        }
      FAIL() << "no error was thrown";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kDeviceLost);
      EXPECT_THAT(error.what(), HasSubstr("qkv[4] to head"));
      EXPECT_THAT(error.what(), HasSubstr("gpu0"));
      EXPECT_THAT(error.what(), HasSubstr("pulled the plug"));
    }
    ASSERT_EQ(finished, 2u);
    for (size_t i = finished; i < steps.size(); ++i) coordinator.run(steps[i].rows, Tail::kNone);
    EXPECT_EQ(copy_of(coordinator.logits(0)), expected[0]) << slots << " slots";
  }
}

TEST(Coordinator, ACacheThatCannotBeHandedOverIsNamedAndStaysWhereItIs) {
  Devices devices(1);
  Plan plan = plan_of(tiny_model(), 2);
  std::fill(plan.decode.begin(), plan.decode.end(), 1u);
  Coordinator coordinator(tiny_model().config, tiny_model().weights, devices.all(), plan,
                          small_shape());
  const auto expected = logits_on_one_cpu(9, 16);
  prefill(coordinator, some_tokens(9), 16);
  const std::vector<uint32_t> tokens = some_tokens(10);
  const auto step = rows_of(std::span(tokens).last(1), 9);
  devices.staged(0).refuse_copies(true);
  try {
    coordinator.run(step, Tail::kNone);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kDeviceLost);
    EXPECT_STREQ(error.what(), "while handing the cache of layer 0 to gpu0: no copy");
  }
  devices.staged(0).refuse_copies(false);
  coordinator.run(step, Tail::kNone);
  EXPECT_EQ(copy_of(coordinator.logits(0)), expected[1]);
}

}  // namespace
}  // namespace tandem
