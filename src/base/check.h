// Checks for programmer errors: always on, abort with file, line and a message.
// Input from outside is never checked this way; it throws Error.
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace tandem {

// Prints "file:line: check failed: condition: message" to stderr and aborts.
[[noreturn]] __attribute__((format(printf, 4, 5))) void check_failed(const char* file, int line,
                                                                     const char* condition,
                                                                     const char* format, ...);

}  // namespace tandem

// TANDEM_CHECK(rows <= capacity, "%u rows, room for %u", rows, capacity);
#define TANDEM_CHECK(condition, ...)                                       \
  do {                                                                     \
    if (!(condition)) [[unlikely]]                                         \
      ::tandem::check_failed(__FILE__, __LINE__, #condition, __VA_ARGS__); \
  } while (false)

// For inner loops: compiled out of release builds.
#ifdef NDEBUG
#define TANDEM_DCHECK(condition, ...) static_cast<void>(0)
#else
#define TANDEM_DCHECK(condition, ...) TANDEM_CHECK(condition, __VA_ARGS__)
#endif
