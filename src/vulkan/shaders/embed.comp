// x[row] = table[token of the row] * scale, where this part of the table has the token. One
// workgroup per row.
// SPDX-License-Identifier: Apache-2.0
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "batch.glsl"
#include "dequant.glsl"

layout(constant_id = 0) const uint kWorkgroup = 64;
layout(local_size_x_id = 0) in;
layout(push_constant, scalar) uniform Push { EmbedParams p; };

void main() {
  const uint row = gl_WorkGroupID.x;
  if (row >= Batch(p.batch).rows) return;
  const uint token = Batch(p.batch).row[row].token - p.first_token;
  if (token >= p.table_rows) return;
  const uint64_t source = p.table + uint64_t(token) * p.row_size;
  QuadArray x = QuadArray(p.x + 4 * uint64_t(row) * p.x_stride);
  for (uint group = gl_LocalInvocationIndex; group < p.width / 32; group += kWorkgroup) {
    const Block block = load_block(source, group);
    const BlockScale scale = block_scale(block);
    [[unroll]] for (uint i = 0; i < 4; ++i) {
      const Vec8 w = dequant8(block, scale, i);
      x.at[8 * group + i] = w.low * p.scale;
      x.at[8 * group + 4 + i] = w.high * p.scale;
    }
  }
}
