// What the operating system says of memory.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace tandem {

// Bytes a process may still take without swapping: MemAvailable, or less where the control group
// sets a limit. Throws kInternal when /proc/meminfo cannot be read.
uint64_t available_host_memory();

// Bytes of this process that are resident now (VmRSS), and the most that ever were (VmHWM).
uint64_t resident_size();
uint64_t peak_resident_size();

}  // namespace tandem
