// Runs recorded programs on the thread pool.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "base/threads.h"
#include "cpu/ops.h"

namespace tandem::cpu {

struct CpuProgram : Program {
  struct Call {
    const CpuKernel* kernel;
    std::vector<TensorView> args;
  };
  std::vector<Call> calls;
  BatchHeader* header = nullptr;
  BatchRow* rows = nullptr;
};

// All stages of a program run in one fork of the pool, with a barrier between stages that could
// otherwise overlap. One run at a time.
class Executor {
 public:
  explicit Executor(ThreadPool& pool) : pool_(pool) {}

  // Makes room for kernels that need `size`; not while a program runs. Throws kOutOfMemory.
  void reserve(ScratchSize size);

  void run(const CpuProgram& program, uint32_t rounds) noexcept;

 private:
  struct Position;  // one thread's place in the program
  void run_rounds(const CpuProgram& program, uint32_t rounds, uint32_t thread) noexcept;
  void run_stage(const CpuProgram::Call& call, const Run& run, uint32_t stage,
                 Position& position) noexcept;

  ThreadPool& pool_;
  ScratchSize size_;  // of `own`: per thread
  std::unique_ptr<SharedMemory> shared_, own_;
  // The next task of a stage. Stages that share out tasks use the two in turn: while one is in use
  // nobody reads the other, so it is reset then.
  alignas(64) std::atomic<uint32_t> next_[2] = {0, 0};
};

}  // namespace tandem::cpu
