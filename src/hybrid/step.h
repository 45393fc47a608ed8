// A step: the rows it works on, and the sizes everything is made for.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace tandem {

// How much work a step may hold and what the caches are sized for.
struct CoordinatorShape {
  uint32_t max_rows = 512;   // rows of a prefill step
  uint32_t max_outputs = 1;  // rows of a step whose logits are wanted
  uint32_t max_rounds = 1;   // decode rounds per call
  uint32_t context = 0;      // positions of a sequence
  uint32_t sequences = 1;
  DType kv = DType::kF16;
  uint32_t slots = 1;  // steps in flight at once

  // Rows of a decode step: with several slots each takes its share of the sequences.
  uint32_t decode_rows() const { return (sequences + slots - 1) / slots; }
};

// What comes after the head.
enum class Tail : uint8_t { kNone, kArgmax };

// One token to process. Rows of a step may belong to any mix of sequences; those of one sequence
// come in ascending positions, without gaps after what the cache holds.
struct StepRow {
  uint32_t token = 0, sequence = 0, position = 0;
  bool output = false;  // logits wanted
};

}  // namespace tandem
