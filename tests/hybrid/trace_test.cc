// What traces and plots hold.
// SPDX-License-Identifier: Apache-2.0
#include "hybrid/trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <regex>
#include <set>

#include "base/json_value.h"
#include "cpu/cpu_backend.h"
#include "hybrid/plot.h"
#include "hybrid/rig.h"
#include "support/staged_backend.h"

namespace tandem {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(TraceRing, KeepsTheLastEvents) {
  TraceRing ring(3);
  for (uint32_t i = 0; i < 5; ++i) {
    TraceEvent event;
    event.step = i;
    ring.add(event);
  }
  ASSERT_EQ(ring.events().size(), 3u);
  EXPECT_EQ(ring.events()[0].step, 2u);
  EXPECT_EQ(ring.events()[2].step, 4u);
  EXPECT_EQ(ring.dropped(), 2u);
  EXPECT_FALSE(TraceRing().enabled());
}

// Layers 0-3 on the CPU, the rest on a device with memory of its own; two chunks in flight.
class Traced : public ::testing::Test {
 protected:
  Traced() {
    plan_ = plan_of(model_, 2);
    std::fill(plan_.prefill.begin() + 17, plan_.prefill.end(), 1u);
    CoordinatorShape shape;
    shape.max_rows = 8;
    shape.context = 64;
    shape.slots = 2;
    Backend* const devices[] = {cpu_.get(), &gpu_};
    coordinator_ =
        std::make_unique<Coordinator>(model_.config, model_.weights, devices, plan_, shape);
    coordinator_->start_trace(100);
    prefill(*coordinator_, some_tokens(24), 8);
  }

  LoadedModel model_;
  std::unique_ptr<Backend> cpu_ = cpu::make_cpu_backend({1, ""});
  std::unique_ptr<Backend> inner_ = cpu::make_cpu_backend({1, ""});
  StagedBackend gpu_{*inner_, "gpu<0>"};
  Plan plan_;
  std::unique_ptr<Coordinator> coordinator_;
};

TEST_F(Traced, EveryProgramIsAnEventInItsDevicesLane) {
  const Json trace = trace_json(coordinator_->trace());
  std::map<std::pair<int, std::string>, int> names;
  std::map<int, double> end;
  for (const Json& event : trace["traceEvents"]) {
    if (event["name"] == "process_name") continue;
    const int lane = event["tid"];
    ++names[{lane, event["name"]}];
    if (event["ph"] != "X") continue;
    // A lane does one thing at a time.
    EXPECT_GE(event["ts"].get<double>(), end[lane]);
    end[lane] = event["ts"].get<double>() + event["dur"].get<double>();
    EXPECT_EQ(event["args"]["rows"], 8);
  }
  EXPECT_EQ((names[{1, "thread_name"}]), 1);
  EXPECT_EQ((names[{1, "embed[0] to ffn[3]"}]), 3);
  EXPECT_EQ((names[{2, "qkv[4] to head[0]"}]), 3);
  EXPECT_EQ((names[{2, "acquire qkv[4] to head[0]"}]), 3);
  EXPECT_EQ((names[{1, "release embed[0] to ffn[3]"}]), 3);
  EXPECT_EQ(trace["otherData"]["events_dropped"]["cpu"], 0);
}

// Tokens are generated on the CPU, which needs what the other device cached of the prompt.
TEST_F(Traced, HandOversOfTheCacheBelongToTheStepThatNeedsThem) {
  coordinator_->run(rows_of(some_tokens(1), 24), Tail::kNone);
  const Json trace = trace_json(coordinator_->trace());
  int hand_overs = 0;
  for (const Json& event : trace["traceEvents"]) {
    if (event["ph"] != "X" || event["args"]["phase"] != "decode") continue;
    EXPECT_EQ(event["args"]["step"], 3) << event;  // after the three chunks
    hand_overs += event["cat"] == "cache";
  }
  EXPECT_EQ(hand_overs, 4);
}

TEST_F(Traced, ThePlotHasALaneAndAPointForEachDevice) {
  const std::vector<TraceLane> lanes = coordinator_->trace();
  const std::string svg = plot_svg({{lanes[0], 1e10, false}, {lanes[1], 0, true}});
  EXPECT_THAT(svg, HasSubstr("cpu prefill"));
  EXPECT_THAT(svg, HasSubstr("gpu&lt;0> (emulated) prefill"));
  EXPECT_THAT(svg, HasSubstr(">gpu&lt;0> (emulated)</text>"));
  EXPECT_THAT(svg, HasSubstr("cpu: 10.0 GB/s"));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(plot_svg({}), HasSubstr("no programs were traced"));
}

// Devices that did the same stand on the same point.
TEST_F(Traced, LabelsOfThePlotDoNotCoverEachOther) {
  const TraceLane lane = coordinator_->trace()[0];
  const std::string svg = plot_svg({{lane, 0, false}, {lane, 0, false}, {lane, 0, false}});
  std::set<std::string> places;
  const std::regex label("<text x=[^>]*>cpu prefill<");
  for (std::sregex_iterator at(svg.begin(), svg.end(), label), end; at != end; ++at)
    places.insert(at->str());
  EXPECT_EQ(places.size(), 3u);
}

}  // namespace
}  // namespace tandem
