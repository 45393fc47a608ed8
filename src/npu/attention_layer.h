// A layer by the shape of its attention, for tests of the projections.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backend/op.h"

namespace tandem::npu {

inline LayerConfig attention_layer(uint32_t hidden, uint32_t heads, uint32_t kv_heads,
                                   uint32_t head_dim) {
  LayerConfig layer;
  layer.hidden = hidden;
  layer.heads = heads;
  layer.kv_heads = kv_heads;
  layer.head_dim = head_dim;
  layer.norm_epsilon = 1e-6f;
  return layer;
}

}  // namespace tandem::npu
