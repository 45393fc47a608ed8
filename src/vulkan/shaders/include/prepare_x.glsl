// The beginning of matvec.comp, and all of prepare.comp: residual add, norm and quantisation of x.
// SPDX-License-Identifier: Apache-2.0

// Of the includer: the quad of the row with which the workgroup begins, and where results go. x
// becomes int8 by quantise(), which keeps two words of a group, and its scale as x_scales has it.
uint first_quad();
void keep(uint i, vec4 a, vec4 b);  // quads i and i + 1; past the end of the row too
void keep_words(uint group, uint word, uvec2 words);
void keep_scale(uint group, vec2 scale);

const bool kNorms = kPrologue == kPrologueNorm || kPrologue == kPrologueAddNorm;
const uint kRowSums = 2, kRounds = kQuads / 2;
const uint kMostBlocks = kNorms ? kRounds * kWorkgroup / 8 : 1;  // subgroups of 8 invocations at least
#include "row_sum.glsl"

// One per subgroup.
shared vec4 subgroup_sums[kWorkgroup / 8];

// The subgroup's sum of component (invocation % 4). At each step an invocation hands on half of what
// it has and keeps the other half: 6 shuffles among 32 invocations, where four sums take 20.
float subgroup_sum_of_component(vec4 value) {
  const bool high = (gl_SubgroupInvocationID & 2u) != 0;
  const vec2 two = (high ? value.zw : value.xy) + subgroupShuffleXor(high ? value.xy : value.zw, 2);
  const bool odd = (gl_SubgroupInvocationID & 1u) != 0;
  float sum = (odd ? two.y : two.x) + subgroupShuffleXor(odd ? two.x : two.y, 1);
  [[unroll]] for (uint i = 2; i < 7; ++i)
    if ((1u << i) < gl_SubgroupSize) sum += subgroupShuffleXor(sum, 1u << i);
  return sum;
}

vec4 workgroup_sum(vec4 value) {
  const float sum = subgroup_sum_of_component(value);
  if (gl_SubgroupInvocationID < 4) subgroup_sums[gl_SubgroupID][gl_SubgroupInvocationID] = sum;
  barrier();
  vec4 rest = vec4(0.0);
  for (uint i = 0; i < gl_NumSubgroups; i += gl_SubgroupSize) {
    const uint at = i + gl_SubgroupInvocationID;
    rest += at < gl_NumSubgroups ? subgroup_sums[at] : vec4(0.0);
  }
  const float total = subgroup_sum_of_component(rest);
  return vec4(subgroupShuffle(total, 0), subgroupShuffle(total, 1), subgroupShuffle(total, 2),
              subgroupShuffle(total, 3));
}

// Weights of the norms, which need not wait for x.
vec4 norm_weights[kQuads], add_weights[kQuads];

uint quad_of(uint j) { return first_quad() + 2 * (thread_index() + j / 2 * kWorkgroup) + j % 2; }
bool has_quad(uint j) { return quad_of(j) < kGroups * 8; }

void load_norm_weights() {
  [[unroll]] for (uint j = 0; j < kQuads; ++j) {
    const uint i = min(quad_of(j), kGroups * 8 - 1);
    if (kPrologue != kPrologueCopy) norm_weights[j] = QuadArray(p.norm).at[i];
    if (kPrologue == kPrologueAddNorm || kPrologue == kPrologueAddInNorm)
      add_weights[j] = QuadArray(p.add_norm).at[i];
  }
}

// Four int8 in a word: the nearest integers to v * factor, at most 127 in size. Added to 1.5 * 2^23
// they are the low bits of the sum, which takes less time than a conversion.
uint pack_rounded(vec4 v, float factor) {
  const uvec4 bits = floatBitsToUint(v * factor + 12582912.0);
  return (bits.x & 0xffu) | (bits.y & 0xffu) << 8 | (bits.z & 0xffu) << 16 | bits.w << 24;
}

// `a` and `b` are quads i and i + 1 of x. Four neighbouring invocations have a group.
void quantise(uint i, vec4 a, vec4 b) {
  const vec4 most = max(abs(a), abs(b));
  float largest = max(max(most.x, most.y), max(most.z, most.w));
  largest = max(largest, subgroupShuffleXor(largest, 1));
  largest = max(largest, subgroupShuffleXor(largest, 2));
  const float factor = largest > 0.0 ? 127.0 / largest : 0.0;
  const uvec2 words = uvec2(pack_rounded(a, factor), pack_rounded(b, factor));
  int sum = dot_packed(words.x, 0x01010101u, 0) + dot_packed(words.y, 0x01010101u, 0);
  sum += subgroupShuffleXor(sum, 1);
  sum += subgroupShuffleXor(sum, 2);
  if (i < kGroups * 8) {
    const uint group = i / 8, word = i % 8;
    keep_words(group, word, words);
    const float scale = largest / 127.0;
    if (word == 0) keep_scale(group, vec2(scale, scale * float(sum)));
  }
}

// Each invocation has the quads quad_of(0), quad_of(1), .. of the row.
vec4 v[kQuads], y[kQuads];

void load_rows(uint64_t x_row, uint row) {
  const bool adds = kPrologue == kPrologueAddNorm || kPrologue == kPrologueAddInNorm;
  QuadArray add = QuadArray(adds ? p.add + 4 * uint64_t(row) * p.x_stride : x_row);
  [[unroll]] for (uint j = 0; j < kQuads; ++j) {
    v[j] = has_quad(j) ? QuadArray(x_row).at[quad_of(j)] : vec4(0.0);
    if (adds) y[j] = has_quad(j) ? add.at[quad_of(j)] : vec4(0.0);
  }
}

void keep_sum(uint row) {
  QuadArray target = QuadArray(p.x_target + 4 * uint64_t(row) * p.x_stride);
  [[unroll]] for (uint j = 0; j < kQuads; ++j)
    if (has_quad(j) && gl_WorkGroupID.x == 0) target.at[quad_of(j)] = v[j];
}

void scale_by(float inverse_rms) {
  [[unroll]] for (uint j = 0; j < kQuads; ++j) v[j] *= inverse_rms * norm_weights[j];
}

// For both norms at once: with r = 1 / rms(y) and z = y w, the squares of v + r z sum up to
// v v + 2 r v z + r r z z.
void add_in_norm(uint row) {
  vec4 sums4 = vec4(0.0);
  [[unroll]] for (uint j = 0; j < kQuads; ++j) {
    const vec4 z = y[j] * add_weights[j];
    sums4 += vec4(dot(y[j], y[j]), dot(v[j], v[j]), dot(v[j], z), dot(z, z));
    y[j] = z;
  }
  sums4 = workgroup_sum(sums4);
  const float r = inverse_rms(sums4.x, p.inverse_width, p.epsilon);
  const float squares = max(sums4.y + r * (2.0 * sums4.z + r * sums4.w), 0.0);
  [[unroll]] for (uint j = 0; j < kQuads; ++j) v[j] += r * y[j];
  keep_sum(row);
  scale_by(inverse_rms(squares, p.inverse_width, p.epsilon));
}

void add_and_norm(uint row) {
  if (kPrologue == kPrologueAddNorm) {
    [[unroll]] for (uint j = 0; j < kQuads; j += 2)
      add_octet(0, j / 2, squares_of(y[j], y[j + 1]));
    const float r = inverse_rms(row_sum(0, kRounds), p.inverse_width, p.epsilon);
    [[unroll]] for (uint j = 0; j < kQuads; ++j)
      v[j] = residual_sum(v[j], y[j], add_weights[j], r);
    keep_sum(row);
  }
  [[unroll]] for (uint j = 0; j < kQuads; j += 2) add_octet(1, j / 2, squares_of(v[j], v[j + 1]));
  scale_by(inverse_rms(row_sum(1, kRounds), p.inverse_width, p.epsilon));
}

void prepare_x(uint64_t x_row, uint row) {
  load_rows(x_row, row);
  if (kNorms) add_and_norm(row);
  if (kPrologue == kPrologueAddInNorm) add_in_norm(row);
  [[unroll]] for (uint j = 0; j < kQuads; j += 2) {
    const bool any = first_quad() + 2 * (gl_SubgroupID * gl_SubgroupSize + j / 2 * kWorkgroup) <
                     kGroups * 8;
    if (any) keep(quad_of(j), v[j], v[j + 1]);
  }
}
