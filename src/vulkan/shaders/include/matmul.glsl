// What the matrix-product shaders share: where rows of the weights lie and which part of K a
// workgroup sums. Includers define DEQUANT_* and WEIGHT_* first.
// SPDX-License-Identifier: Apache-2.0
#ifndef TANDEM_MATMUL_GLSL
#define TANDEM_MATMUL_GLSL

#include "common.glsl"
#include "batch.glsl"
#include "dequant.glsl"
#include "prefill_params.h"

layout(constant_id = 0) const uint kWorkgroup = 256;
layout(constant_id = 1) const uint kTileM = 128;
layout(constant_id = 2) const uint kTileN = 128;
layout(constant_id = 3) const uint kTileK = 32;
layout(constant_id = 4) const uint kPartM = 64;
layout(constant_id = 5) const uint kPartN = 64;

layout(constant_id = 9) const uint kRowKind = kRowsAll;
layout(local_size_x_id = 0) in;
layout(push_constant, scalar) uniform Push { MatmulParams p; };

// The weights of column n of y; n past the last column repeats the last.
uint64_t weight_row(uint n) {
  n = min(n, p.n_end[2] - 1);
  if (n < p.n_end[0]) return p.w[0] + uint64_t(n) * p.row_size;
  if (n < p.n_end[1]) return p.w[1] + uint64_t(n - p.n_end[0]) * p.row_size;
  return p.w[2] + uint64_t(n - p.n_end[1]) * p.row_size;
}

uint row_count() {
  Batch batch = Batch(p.batch);
  return kRowKind == kRowsAll ? batch.rows : batch.outputs;
}

// Grid: x over rows, y over columns (neighbours in x read the same weights), z over splits of K.
uint first_row() { return gl_WorkGroupID.x * kTileM; }
uint first_column() { return gl_WorkGroupID.y * kTileN; }
uint first_k() { return gl_WorkGroupID.z * p.k_split; }
uint last_k() { return min(p.k, first_k() + p.k_split); }

// Where this workgroup's split writes: [rows, y_stride].
FloatArray result() { return FloatArray(p.y + 4 * uint64_t(gl_WorkGroupID.z) * p.split_size); }

#endif
