// SPDX-License-Identifier: Apache-2.0
#include "base/threads.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>
#include <time.h>

#include <atomic>
#include <chrono>
#include <set>
#include <thread>
#include <vector>

#include "base/error.h"

namespace tandem {
namespace {

TEST(ThreadPool, RunsEveryIndexOnceOnItsOwnThread) {
  ThreadPool pool(4);
  ASSERT_EQ(pool.size(), 4u);
  std::vector<std::atomic<int>> calls(4);
  std::vector<std::thread::id> ids(4);
  pool.run([&](uint32_t index) noexcept {
    ++calls[index];
    ids[index] = std::this_thread::get_id();
  });
  for (const auto& count : calls) EXPECT_EQ(count, 1);
  EXPECT_EQ(std::set<std::thread::id>(ids.begin(), ids.end()).size(), 4u);
  EXPECT_EQ(ids[0], std::this_thread::get_id());
}

TEST(ThreadPool, OfOneRunsOnTheCaller) {
  ThreadPool pool(1);
  int calls = 0;
  pool.run([&](uint32_t index) noexcept {
    EXPECT_EQ(index, 0u);
    pool.barrier();
    ++calls;
  });
  EXPECT_EQ(calls, 1);
}

TEST(ThreadPool, ReturnsOnlyWhenAllHaveReturned) {
  ThreadPool pool(3);
  for (int round = 0; round < 500; ++round) {
    std::vector<int> marks(3, 0);  // not atomic: the join must order the writes
    pool.run([&](uint32_t index) noexcept { marks[index] = round; });
    for (int mark : marks) ASSERT_EQ(mark, round);
  }
}

TEST(ThreadPool, BarrierShowsWhatTheOthersWroteBefore) {
  constexpr uint32_t kThreads = 3;
  constexpr int kSteps = 200;
  ThreadPool pool(kThreads);
  std::vector<int> values(kThreads, -1);
  std::atomic<int> wrong{0};
  pool.run([&](uint32_t index) noexcept {
    for (int step = 0; step < kSteps; ++step) {
      values[index] = step;
      pool.barrier();
      for (int value : values)
        if (value != step) ++wrong;
      pool.barrier();
    }
  });
  EXPECT_EQ(wrong, 0);
}

TEST(ThreadPool, LateThreadIsWaitedForAsleep) {
  ThreadPool pool(2);
  std::atomic<bool> slept{false};
  bool seen = false;
  pool.run([&](uint32_t index) noexcept {
    if (index == 1) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      slept = true;
    }
    pool.barrier();
    if (index == 0) seen = slept;
  });
  EXPECT_TRUE(seen);
}

TEST(ThreadPool, IdlePoolUsesNoProcessorTime) {
  ThreadPool pool(4);
  pool.run([](uint32_t) noexcept {});
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  timespec before{}, after{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
  const double used = static_cast<double>(after.tv_sec - before.tv_sec) +
                      static_cast<double>(after.tv_nsec - before.tv_nsec) * 1e-9;
  EXPECT_LT(used, 0.02);  // three threads polling for 0.1 s would use at least 0.1 s
}

TEST(ThreadPool, DefaultsToCoresOfTheAffinityMask) {
  EXPECT_GE(default_thread_count(), 1u);
  EXPECT_LE(default_thread_count(), std::thread::hardware_concurrency());
  cpu_set_t original;
  ASSERT_EQ(sched_getaffinity(0, sizeof(original), &original), 0);
  size_t first = 0;
  while (!CPU_ISSET(first, &original)) ++first;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  EXPECT_EQ(default_thread_count(), 1u);
  EXPECT_EQ(ThreadPool(0).size(), 1u);
  sched_setaffinity(0, sizeof(original), &original);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(ThreadPool, SaysSoWhenTheSystemRefusesAThread) {
  // Room for a few stacks only; a sanitizer's own mappings would not fit.
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_AS, &limit), 0);
  const rlimit small{size_t{256} << 20, limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_AS, &small), 0);
  try {
    ThreadPool pool(1000);
    ADD_FAILURE() << "1000 stacks of 8 MiB fitted into 256 MiB";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInternal);
    EXPECT_NE(std::string(error.what()).find("of 1000 could be started"), std::string::npos);
  }
  setrlimit(RLIMIT_AS, &limit);
}
#endif

}  // namespace
}  // namespace tandem
