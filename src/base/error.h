// The one exception type of the project and the exit code of each kind of error.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <exception>
#include <string>
#include <string_view>

namespace tandem {

// What went wrong, as far as a caller can act on it.
enum class ErrorCode {
  kUsage,        // bad flag, bad request
  kNotFound,     // no such file or model
  kInvalidFile,  // the file's bytes are wrong
  kUnsupported,  // valid, but not something this build or machine can do
  kOutOfMemory,  // host memory, device memory, memlock limit
  kDeviceLost,   // a device stopped answering
  kTimeout,      // a wait ran out
  kInternal,     // a bug, or the operating system failed
};

// An error of the outside world while setting up. The message is one sentence (no trailing full
// stop) that says what is wrong, where, and what to do. Programmer errors use TANDEM_CHECK.
class Error : public std::exception {
 public:
  Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {}

  ErrorCode code() const noexcept { return code_; }
  const char* what() const noexcept override { return message_.c_str(); }

  // The same error with "while `activity`: " in front, for the few sites that add context.
  Error while_doing(std::string_view activity) const;

 private:
  ErrorCode code_;
  std::string message_;
};

// Exit code of the process: 2 usage, 3 not found, 4 invalid file, 5 unsupported, 6 out of memory,
// 7 device lost or time-out, 70 internal.
int exit_code(ErrorCode code);

}  // namespace tandem
