// Where in a design's text something was written.
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace tandem::npu {

struct SourceLocation {
  int line = 0;  // from 1; 0: not from a text
  int column = 0;
};

}  // namespace tandem::npu
