// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

namespace tandem {

Error Error::while_doing(std::string_view activity) const {
  return Error(code_, "while " + std::string(activity) + ": " + message_);
}

int exit_code(ErrorCode code) {
  switch (code) {
    case ErrorCode::kUsage: return 2;
    case ErrorCode::kNotFound: return 3;
    case ErrorCode::kInvalidFile: return 4;
    case ErrorCode::kUnsupported: return 5;
    case ErrorCode::kOutOfMemory: return 6;
    case ErrorCode::kDeviceLost:
    case ErrorCode::kTimeout: return 7;
    case ErrorCode::kInternal: return 70;
  }
  return 70;
}

}  // namespace tandem
