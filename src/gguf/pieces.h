// Shares the pieces of a long piece of work among threads.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>

#include "base/threads.h"

namespace tandem {

// Calls work(piece, thread) for every piece in [0, count), each on one of the pool's threads, in
// about that order, and tick() on the calling thread after each piece it did itself. When one
// throws, no further piece is begun and the first exception is thrown here.
template <typename Work, typename Tick>
void for_each_piece(ThreadPool& pool, size_t count, const Work& work, const Tick& tick) {
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  std::exception_ptr error;  // guarded by the mutex
  pool.run([&](uint32_t thread) noexcept {
    try {
      for (size_t piece = next++; piece < count; piece = next++) {
        work(piece, thread);
        if (thread == 0) tick();
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (error == nullptr) error = std::current_exception();
      next = count;
    }
  });
  if (error != nullptr) std::rethrow_exception(error);
}

}  // namespace tandem
