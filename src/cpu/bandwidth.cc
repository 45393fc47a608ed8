// SPDX-License-Identifier: Apache-2.0
#include "cpu/bandwidth.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstring>

#include "base/threads.h"
#include "tensor/shared_memory.h"

namespace tandem::cpu {
namespace {

// Sixteen sums, so that additions do not wait for each other; lines are asked for ahead, as the
// kernels do.
uint64_t sum_words(const std::byte* data, size_t size) {
  constexpr size_t kLine = 64, kAhead = 4096;
  std::array<uint64_t, 16> sums{};
  for (size_t at = 0; at + sizeof(sums) <= size; at += sizeof(sums)) {
    for (size_t line = 0; line < sizeof(sums); line += kLine)
      __builtin_prefetch(data + at + kAhead + line);
    std::array<uint64_t, 16> words;
    std::memcpy(words.data(), data + at, sizeof(words));
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += words[i];
  }
  uint64_t total = 0;
  for (uint64_t sum : sums) total += sum;
  return total;
}

}  // namespace

double measure_read_bandwidth(uint32_t threads) {
  constexpr size_t kPiece = size_t{1} << 20;
  const long cache = std::max(0L, sysconf(_SC_LEVEL3_CACHE_SIZE));  // 0: not known
  const size_t size = std::max(size_t{1} << 30, 8 * static_cast<size_t>(cache)) / kPiece * kPiece;
  SharedMemory memory(size, "a bandwidth measurement");
  ThreadPool pool(threads);
  std::atomic<size_t> next{0};
  std::atomic<uint64_t> total{0};
  const auto for_each_piece = [&](auto&& work) {
    next = 0;
    pool.run([&](uint32_t) noexcept {
      for (size_t at = next.fetch_add(kPiece); at < size; at = next.fetch_add(kPiece))
        work(memory.data() + at);
    });
  };
  // Untouched pages would all be one page of zeros.
  for_each_piece([](std::byte* piece) noexcept { std::memset(piece, 1, kPiece); });
  double best = 0;
  for (int pass = 0; pass < 5; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    for_each_piece([&](const std::byte* piece) noexcept { total += sum_words(piece, kPiece); });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::max(best, static_cast<double>(size) / seconds.count() * 1e-9);
  }
  // Using the sum keeps the reads; all words are equal, so it is known.
  return total == 5 * (size / 8) * 0x0101010101010101u ? best : 0;
}

}  // namespace tandem::cpu
