// Order, overlap and failure of pipelined jobs.
// SPDX-License-Identifier: Apache-2.0
#include "hybrid/pipeline.h"

#include <gtest/gtest.h>

#include <array>
#include <mutex>
#include <stdexcept>
#include <vector>

namespace tandem {
namespace {

// Jobs that all visit the devices of `route`; notes what ran where.
class Route : public Pipeline::Work {
 public:
  explicit Route(std::vector<uint32_t> route) : route_(std::move(route)) {}

  uint32_t start(uint32_t job, uint32_t slot) override {
    if (job == fails_to_start_) throw std::runtime_error("no start");
    jobs_[slot] = {job, 0};
    return route_[0];
  }
  std::optional<uint32_t> run_task(uint32_t slot) override {
    auto& [job, task] = jobs_[slot];
    if (job == failing_job_ && task == failing_task_) throw std::runtime_error("broken");
    {
      const std::lock_guard lock(mutex_);
      ran_.push_back({job, task});
    }
    if (++task == route_.size()) return std::nullopt;
    return route_[task];
  }
  // The jobs that ran the task, in that order.
  std::vector<uint32_t> order_of(uint32_t task) const {
    std::vector<uint32_t> order;
    for (const auto& [job, t] : ran_)
      if (t == task) order.push_back(job);
    return order;
  }

  uint32_t fails_to_start_ = UINT32_MAX, failing_job_ = UINT32_MAX, failing_task_ = 0;

 private:
  struct Place {
    uint32_t job, task;
  };
  std::vector<uint32_t> route_;
  std::array<Place, 4> jobs_{};
  std::mutex mutex_;
  std::vector<Place> ran_;
};

TEST(Pipeline, JobsPassEachDeviceInTheirOrder) {
  const std::vector<uint32_t> everybody = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  Pipeline pipeline(3, 4);
  for (int repeat = 0; repeat < 20; ++repeat) {
    Route route({0, 1, 0, 2, 1, 0});
    const Pipeline::Result result = pipeline.run(12, route);
    EXPECT_EQ(result.finished, 12u);
    EXPECT_FALSE(result.error);
    for (uint32_t task = 0; task < 6; ++task) EXPECT_EQ(route.order_of(task), everybody);
  }
}

TEST(Pipeline, AnErrorStopsWhatFollowsAndThePipelineWorksOn) {
  Pipeline pipeline(2, 3);
  Route route({0, 1, 0});
  route.failing_job_ = 4;
  route.failing_task_ = 1;
  const Pipeline::Result result = pipeline.run(9, route);
  ASSERT_TRUE(result.error);
  EXPECT_THROW(std::rethrow_exception(result.error), std::runtime_error);
  EXPECT_LE(result.finished, 4u);
  EXPECT_EQ(route.order_of(2).size(), result.finished);
  Route next({1, 0});
  EXPECT_EQ(pipeline.run(5, next).finished, 5u);
}

TEST(Pipeline, AJobThatCannotStartIsAnError) {
  Pipeline pipeline(1, 2);
  Route route({0});
  route.fails_to_start_ = 2;
  const Pipeline::Result result = pipeline.run(4, route);
  EXPECT_TRUE(result.error);
  EXPECT_LE(result.finished, 2u);
}

}  // namespace
}  // namespace tandem
