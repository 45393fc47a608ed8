// SPDX-License-Identifier: Apache-2.0
#include "hybrid/pipeline.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/interrupt.h"
#include "base/threads.h"

namespace tandem {

Pipeline::Pipeline(uint32_t device_count, uint32_t slot_count)
    : lanes_(device_count), slot_count_(slot_count) {
  for (Lane& lane : lanes_) lane.slots.resize(slot_count);
  try {
    for (Lane& lane : lanes_)
      lane.thread = start_thread("a device of the pipeline", [this, &lane] { drive(lane); });
  } catch (...) {
    stop();
    throw;
  }
}

Pipeline::~Pipeline() { stop(); }

void Pipeline::stop() noexcept {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  for (Lane& lane : lanes_) {
    lane.filled.notify_one();
    if (lane.thread.joinable()) lane.thread.join();
  }
}

Pipeline::Result Pipeline::run(uint32_t job_count, Work& work) {
  std::unique_lock lock(mutex_);
  work_ = &work;
  job_count_ = job_count;
  next_job_ = finished_ = 0;
  error_ = nullptr;
  const uint32_t first = std::min(job_count, slot_count_);
  in_flight_ = first;
  for (uint32_t slot = 0; slot < first; ++slot) start_next(slot);
  idle_.wait(lock, [&] { return in_flight_ == 0; });
  work_ = nullptr;
  return {finished_, std::exchange(error_, nullptr)};
}

void Pipeline::push(uint32_t device, uint32_t slot) noexcept {
  Lane& lane = lanes_[device];
  TANDEM_CHECK(lane.count < slot_count_, "slot %u is in two queues", slot);
  lane.slots[(lane.head + lane.count++) % slot_count_] = slot;
  lane.filled.notify_one();
}

// The slot holds no job.
void Pipeline::start_next(uint32_t slot) noexcept {
  if (!error_ && next_job_ < job_count_ && !(next_job_ > 0 && interrupted())) {
    const uint32_t job = next_job_++;
    try {
      push(work_->start(job, slot), slot);
      return;
    } catch (...) {
      error_ = std::current_exception();
    }
  }
  if (--in_flight_ == 0) idle_.notify_one();
}

// With the lock, but for while the work runs.
void Pipeline::run_task(uint32_t slot, std::unique_lock<std::mutex>& lock) noexcept {
  std::optional<uint32_t> next;
  bool failed = error_ != nullptr;
  if (!failed) {
    std::exception_ptr thrown;
    lock.unlock();
    try {
      next = work_->run_task(slot);
    } catch (...) {
      thrown = std::current_exception();
    }
    lock.lock();
    failed = thrown != nullptr;
    if (failed && !error_) error_ = thrown;
  }
  if (!failed && next) return push(*next, slot);
  if (!failed) ++finished_;
  start_next(slot);
}

void Pipeline::drive(Lane& lane) noexcept {
  std::unique_lock lock(mutex_);
  for (;;) {
    lane.filled.wait(lock, [&] { return stopping_ || lane.count > 0; });
    if (stopping_) return;
    const uint32_t slot = lane.slots[lane.head];
    lane.head = (lane.head + 1) % slot_count_;
    --lane.count;
    run_task(slot, lock);
  }
}

}  // namespace tandem
