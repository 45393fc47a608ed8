// SPDX-License-Identifier: Apache-2.0
#include "base/threads.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <string>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace tandem {
namespace {

// Polls before going to sleep: about 20-50 us on current x86 cores, as long as a wake-up takes.
constexpr int kSpins = 1000;

void pause_cpu() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

// Returns once `value` is no longer `old`.
void wait_while(const std::atomic<uint32_t>& value, uint32_t old) noexcept {
  for (int spin = 0; spin < kSpins; ++spin) {
    if (value.load(std::memory_order_acquire) != old) return;
    pause_cpu();
  }
  while (value.load(std::memory_order_acquire) == old) value.wait(old, std::memory_order_acquire);
}

// The CPUs that share a core with `cpu`, as Linux lists them ("0,64"): the same text for each of
// them, so it names the core. A system that does not tell has one thread per core.
std::string core_name(int cpu) {
  std::ifstream file(
      fmt::format("/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list", cpu));
  std::string siblings;
  return std::getline(file, siblings) ? siblings : std::to_string(cpu);
}

}  // namespace

uint32_t default_thread_count() {
  constexpr int kMaxCpus = 8192;  // the largest NR_CPUS of a Linux kernel on x86-64
  const size_t size = CPU_ALLOC_SIZE(kMaxCpus);
  const std::unique_ptr<cpu_set_t, void (*)(cpu_set_t*)> mask(CPU_ALLOC(kMaxCpus),
                                                              [](cpu_set_t* s) { CPU_FREE(s); });
  if (!mask || sched_getaffinity(0, size, mask.get()) != 0)
    return std::max(1u, std::thread::hardware_concurrency());
  std::set<std::string> cores;
  for (int cpu = 0; cpu < kMaxCpus; ++cpu)
    if (CPU_ISSET_S(static_cast<size_t>(cpu), size, mask.get())) cores.insert(core_name(cpu));
  return std::max(1u, static_cast<uint32_t>(cores.size()));
}

std::thread start_thread(std::string_view purpose, std::function<void()> body) {
  try {
    return std::thread(std::move(body));
  } catch (const std::system_error& error) {
    throw Error(ErrorCode::kInternal,
                fmt::format("no thread for {} could be started: {}; raise the limit on processes "
                            "(ulimit -u) or ask for fewer threads with -t",
                            purpose, error.what()));
  }
}

ThreadPool::ThreadPool(uint32_t thread_count)
    : size_(thread_count == 0 ? default_thread_count() : thread_count) {
  try {
    workers_.reserve(size_ - 1);
    for (uint32_t index = 1; index < size_; ++index)
      workers_.push_back(start_thread(fmt::format("worker {} of {}", index, size_),
                                      [this, index] { work(index); }));
  } catch (...) {
    stop();
    throw;
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() noexcept {
  function_ = nullptr;
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (std::thread& worker : workers_) worker.join();
  workers_.clear();
}

void ThreadPool::run_erased(Function function, void* context) noexcept {
  function_ = function;
  context_ = context;
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  function(context, 0);
  barrier();
}

void ThreadPool::work(uint32_t index) noexcept {
  for (uint32_t seen = 0;; ++seen) {
    wait_while(generation_, seen);
    if (function_ == nullptr) return;
    function_(context_, index);
    // Nobody starts the next run before all have come here, so no generation is missed.
    barrier();
  }
}

void ThreadPool::barrier() noexcept {
  const uint32_t phase = phase_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 < size_) {
    wait_while(phase_, phase);
    return;
  }
  arrived_.store(0, std::memory_order_relaxed);
  // Sequentially consistent: notify_all() looks for sleepers, and must not do so before the store
  // can be seen, or one that is falling asleep is missed.
  phase_.store(phase + 1, std::memory_order_seq_cst);
  phase_.notify_all();
}

}  // namespace tandem
