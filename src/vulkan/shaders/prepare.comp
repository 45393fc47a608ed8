// What matvec.comp's beginning makes of x, in a dispatch of its own: where several rows are
// multiplied together, each is made once instead of by every workgroup. Grid: x over parts of a row,
// one where there is a norm, y over rows.
// SPDX-License-Identifier: Apache-2.0
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "batch.glsl"
#include "dot.glsl"

layout(constant_id = 0) const uint kWorkgroup = 256;
layout(constant_id = 1) const uint kGroups = 32;
layout(constant_id = 2) const uint kPrologue = kPrologueCopy;
layout(constant_id = 3) const bool kAsFloats = false;
layout(constant_id = 7) const uint kQuads = 2;
layout(constant_id = 9) const uint kRowKind = kRowsAll;
layout(constant_id = 15) const bool kChained = false;
layout(local_size_x_id = 0) in;
layout(push_constant, scalar) uniform Push { PrepareParams p; };

layout(buffer_reference, scalar, buffer_reference_align = 8) nonprivate buffer PairArray {
  vec2 at[];
};

#include "prepare_x.glsl"

uint first_quad() { return gl_WorkGroupID.x * kWorkgroup * kQuads; }

uint64_t target_row() { return p.target + 4 * uint64_t(gl_WorkGroupID.y) * p.target_stride; }

void keep_words(uint group, uint word, uvec2 words) {
  UintArray quad = UintArray(target_row() + 16 * (word / 4 * kGroups + group));
  quad.at[word % 4] = words.x;
  quad.at[word % 4 + 1] = words.y;
}

void keep_scale(uint group, vec2 scale) { PairArray(target_row() + 32 * kGroups).at[group] = scale; }

void keep(uint i, vec4 a, vec4 b) {
  if (!kAsFloats) {
    quantise(i, a, b);
  } else if (i < kGroups * 8) {
    QuadArray(target_row()).at[i] = a;
    QuadArray(target_row()).at[i + 1] = b;
  }
}

void main() {
  load_norm_weights();
  Batch batch = Batch(p.batch);
  const uint row = gl_WorkGroupID.y;
  const bool works = row < (kRowKind == kRowsAll ? batch.rows : batch.outputs);
  const uint from = kRowKind == kRowsGathered ? batch.row[row].output_row : row;
  if (kChained) chain_wait(p.chain);
  if (works) prepare_x(p.x + 4 * uint64_t(from) * p.x_stride, from);
  if (kChained) chain_signal(p.chain);
}
