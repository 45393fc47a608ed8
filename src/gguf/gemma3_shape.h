// The hyper-parameters in which Gemma 3 text models differ from each other.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace tandem {

struct Gemma3Shape {
  uint32_t layers = 0, hidden = 0, ffn = 0, heads = 0, kv_heads = 0, head_dim = 0;
  uint32_t window = 0, context = 0;  // positions
  float rope_factor = 1.0f;          // linear scaling of the global layers' positions
  uint32_t vocab = 262144;           // pieces
};

}  // namespace tandem
