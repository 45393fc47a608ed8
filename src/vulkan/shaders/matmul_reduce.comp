// y = sum of the partial products of a matrix product whose K was split.
// SPDX-License-Identifier: Apache-2.0
#version 460
#extension GL_GOOGLE_include_directive : require
#define BARRIERS_ONLY

#include "common.glsl"
#include "batch.glsl"
#include "prefill_params.h"

layout(constant_id = 9) const uint kRowKind = kRowsAll;
layout(local_size_x_id = 0) in;
layout(push_constant, scalar) uniform Push { MatmulReduceParams p; };

// Grid: x over columns, y over rows.
void main() {
  const uint row = gl_WorkGroupID.y;
  const uint column = gl_GlobalInvocationID.x;
  Batch batch = Batch(p.batch);
  if (row >= (kRowKind == kRowsAll ? batch.rows : batch.outputs) || column >= p.n) return;
  float sum = 0.0;
  for (uint split = 0; split < p.splits; ++split)
    sum += FloatArray(p.partial + 4 * uint64_t(split) * p.split_size)
               .at[row * p.partial_stride + column];
  FloatArray(p.y).at[row * p.y_stride + column] = sum;
}
