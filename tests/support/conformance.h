// Runs one case of cases.h on any backend and compares with the reference. A backend that runs
// fused nodes only is not covered; these are primitives.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/tolerance.h"
#include "support/cases.h"

namespace tandem {

struct CaseResult {
  bool supported = false;
  bool ok = false;
  std::string message;            // why not supported, or what is wrong
  double worst_share = 0;         // of the bound that the worst element uses
  std::vector<std::byte> memory;  // all operands after the run, the same for equal results
};

// Operands are random, strided and surrounded by guard bytes; whatever the op must not write is
// checked to be untouched, cache rows it must not read hold large values. Throws what the backend
// throws.
CaseResult run_case(Backend& backend, const Case& c, Rounding rounding);

}  // namespace tandem
