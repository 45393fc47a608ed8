// A pool of threads that run one function together: fork, barriers inside, join.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <thread>
#include <type_traits>
#include <vector>

namespace tandem {

// Physical cores that the process's affinity mask reaches; at least 1.
uint32_t default_thread_count();

// A thread that runs `body`. Throws kInternal, saying what it was for, when the system refuses one.
std::thread start_thread(std::string_view purpose, std::function<void()> body);

// Threads wait by spinning for some microseconds, then asleep in the kernel, so an idle pool costs
// nothing and a step that follows at once pays no wake-up. Nothing here allocates after
// construction.
class ThreadPool {
 public:
  // `thread_count` includes the thread that calls run(); 0 means default_thread_count(). Throws
  // kInternal when the system refuses a thread.
  explicit ThreadPool(uint32_t thread_count);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  uint32_t size() const { return size_; }

  // Calls task(index) once for each index in [0, size()), each on its own thread, index 0 on the
  // caller's; returns when all have returned. `task` must not throw. One call at a time.
  template <typename Task>
  void run(Task&& task) noexcept {
    using Plain = std::remove_reference_t<Task>;
    static_assert(std::is_nothrow_invocable_v<Plain&, uint32_t>, "declare the task noexcept");
    run_erased([](void* context, uint32_t index) { (*static_cast<Plain*>(context))(index); },
               const_cast<void*>(static_cast<const void*>(&task)));
  }

  // Inside run() only: returns when every thread of the pool has called it. What each wrote before
  // is visible to all after.
  void barrier() noexcept;

 private:
  using Function = void (*)(void*, uint32_t);
  void run_erased(Function function, void* context) noexcept;
  void work(uint32_t index) noexcept;
  void stop() noexcept;

  uint32_t size_;
  Function function_ = nullptr;  // null tells the workers to end
  void* context_ = nullptr;
  // Apart by a cache line each: one is written by everybody, the others polled.
  alignas(64) std::atomic<uint32_t> generation_{0};  // counts runs
  alignas(64) std::atomic<uint32_t> arrived_{0};     // threads in the current barrier
  alignas(64) std::atomic<uint32_t> phase_{0};       // counts barriers
  std::vector<std::thread> workers_;
};

}  // namespace tandem
