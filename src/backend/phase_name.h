// The phases' names, as plans, reports and file names spell them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "backend/op.h"

namespace tandem {

constexpr std::string_view phase_name(Phase phase) {
  return phase == Phase::kPrefill ? "prefill" : "decode";
}

}  // namespace tandem
