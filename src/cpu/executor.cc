// SPDX-License-Identifier: Apache-2.0
#include "cpu/executor.h"

#include <algorithm>

namespace tandem::cpu {

struct Executor::Position {
  uint32_t thread;
  bool behind_barrier = true;  // what the other threads wrote is visible
  bool solo = false;           // since the last barrier only thread 0 has worked
  uint32_t shared_stages = 0;  // stages shared out so far
};

void Executor::reserve(ScratchSize size) {
  constexpr size_t kPage = 4096;  // threads write to pages of their own
  const size_t own = (size.own + kPage - 1) / kPage * kPage;
  if (!shared_ || size.shared > size_.shared) {
    size_.shared = size.shared;
    shared_ = std::make_unique<SharedMemory>(size_.shared, "scratch of the CPU kernels");
  }
  if (!own_ || own > size_.own) {
    size_.own = own;
    own_ = std::make_unique<SharedMemory>(size_.own * pool_.size(), "scratch of the CPU kernels");
  }
}

void Executor::run(const CpuProgram& program, uint32_t rounds) noexcept {
  next_[0].store(0, std::memory_order_relaxed);
  next_[1].store(0, std::memory_order_relaxed);
  pool_.run([&](uint32_t thread) noexcept { run_rounds(program, rounds, thread); });
}

void Executor::run_rounds(const CpuProgram& program, uint32_t rounds, uint32_t thread) noexcept {
  const Run run{program.header, program.rows, rounds, shared_->data(),
                own_->data() + thread * size_.own};
  Position position{thread};
  for (uint32_t round = 0; round < rounds; ++round) {
    if (rounds > 1) {
      // The last stage of the round before has changed the batch, which all read to count tasks.
      pool_.barrier();
      if (thread == 0) program.header->round = round;
      pool_.barrier();
      position.behind_barrier = true;
    }
    for (const CpuProgram::Call& call : program.calls)
      for (uint32_t stage = 0; stage < call.kernel->stage_count(); ++stage)
        run_stage(call, run, stage, position);
  }
}

void Executor::run_stage(const CpuProgram::Call& call, const Run& run, uint32_t stage,
                         Position& position) noexcept {
  const uint32_t count = call.kernel->task_count(run, call.args, stage);
  if (count == 0) return;
  const bool solo = count == 1;
  // Thread 0 needs no barrier between two stages that it runs alone.
  if (!position.behind_barrier && !(solo && position.solo)) pool_.barrier();
  position.behind_barrier = false;
  position.solo = solo;
  if (solo) {
    if (position.thread != 0) return;
    call.kernel->enter(run, call.args, stage);
    call.kernel->run_task(run, call.args, stage, 0);
    return;
  }
  std::atomic<uint32_t>& next = next_[position.shared_stages % 2];
  if (position.thread == 0)
    next_[(position.shared_stages + 1) % 2].store(0, std::memory_order_relaxed);
  ++position.shared_stages;
  uint32_t task = next.fetch_add(1, std::memory_order_relaxed);
  if (task < count) call.kernel->enter(run, call.args, stage);
  for (; task < count; task = next.fetch_add(1, std::memory_order_relaxed))
    call.kernel->run_task(run, call.args, stage, task);
}

}  // namespace tandem::cpu
