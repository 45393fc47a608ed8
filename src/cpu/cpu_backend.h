// The CPU as a backend: every primitive, on a pool of threads.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "backend/backend.h"

namespace tandem::cpu {

struct CpuOptions {
  uint32_t threads = 0;  // 0: the physical cores the process may use
  std::string isa;       // "scalar", "avx2", "avx512"; empty: TANDEM_CPU_ISA, else the best
};

// Programs run asynchronously, one after the other. Results are the same bits for any number of
// threads. Throws kUsage, kUnsupported (the CPU lacks the instruction set) and kInternal (a thread
// could not be started).
std::unique_ptr<Backend> make_cpu_backend(const CpuOptions& options);

}  // namespace tandem::cpu
