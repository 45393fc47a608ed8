// The memory bandwidth that decoding is measured against.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace tandem::cpu {

// Bytes per second, in units of 10^9, of `threads` threads (0: default_thread_count()) reading
// memory in order: the best of five passes over 1 GiB, or over 8 times the last-level cache if that
// is more. Takes about a second. Throws kOutOfMemory, kInternal.
double measure_read_bandwidth(uint32_t threads);

}  // namespace tandem::cpu
