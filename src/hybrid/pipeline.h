// Several jobs at once over several devices: a thread per device, each taking tasks in the order
// they were handed to it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace tandem {

// Jobs that visit the same devices in the same order never overtake each other: the queues are
// first in, first out, so what job i does on a device is done before job i + 1 does the same.
class Pipeline {
 public:
  // A job is a chain of tasks, each for one device. A slot holds one job at a time; what is called
  // for different slots runs at the same time, what is called for one slot never does.
  class Work {
   public:
    virtual ~Work() = default;
    // Puts a job into a slot; returns the device of its first task.
    virtual uint32_t start(uint32_t job, uint32_t slot) = 0;
    // Runs the next task of the slot's job, in the thread of its device. Returns the device of the
    // task after it, nothing when the job is done.
    virtual std::optional<uint32_t> run_task(uint32_t slot) = 0;
  };

  struct Result {
    uint32_t finished = 0;     // jobs done; of jobs alike, the first so many
    std::exception_ptr error;  // of the first task that threw; no task was started after it
  };

  // Throws kInternal when the system refuses a thread.
  Pipeline(uint32_t device_count, uint32_t slot_count);
  ~Pipeline();
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  // Runs jobs 0 .. job_count - 1, started in that order, as many at once as there are slots.
  // Returns when no task runs any more. After Ctrl-C no further job is started.
  Result run(uint32_t job_count, Work& work);

 private:
  // A ring of slots whose next task is for this device. A slot is in one queue at most.
  struct Lane {
    std::vector<uint32_t> slots;
    uint32_t head = 0, count = 0;
    std::condition_variable filled;
    std::thread thread;
  };

  void drive(Lane& lane) noexcept;
  void run_task(uint32_t slot, std::unique_lock<std::mutex>& lock) noexcept;
  void start_next(uint32_t slot) noexcept;
  void push(uint32_t device, uint32_t slot) noexcept;
  void stop() noexcept;

  std::vector<Lane> lanes_;
  uint32_t slot_count_;

  std::mutex mutex_;  // guards what follows, and the queues
  std::condition_variable idle_;
  Work* work_ = nullptr;
  uint32_t job_count_ = 0, next_job_ = 0, finished_ = 0, in_flight_ = 0;
  std::exception_ptr error_;
  bool stopping_ = false;
};

}  // namespace tandem
