// Weights as weight_layout.h lays them out, read through an address: picks the format by one define
// (WEIGHT_Q4_0, WEIGHT_Q8_0, WEIGHT_Q4_K, WEIGHT_Q6_K, WEIGHT_F16, WEIGHT_BF16,
// WEIGHT_F32).
// SPDX-License-Identifier: Apache-2.0
//
// A row is cut into groups of 32 weights, whatever the size of the format's own blocks. Each
// format offers:
//
//   Block load_block(uint64_t row, uint group)   only issues the loads, so that several groups can
//                                                be in flight before one is used
//   BlockScale block_scale(Block block)          w = scale[k / 16] * q + offset
//   uvec2 load8(Block block, uint i)             two words of four int8 q: weights 4i .. 4i+3 and
//                                                16+4i .. 16+4i+3, i < 4
//   Vec8 dequant8(Block block, BlockScale s, uint i)   the same eight weights as floats
//   uvec4 dequant8_f16(Block block, BlockScale s, uint i)   as packed f16, where DEQUANT_F16 is
//                                                defined; in each four the order is 0 2 1 3, which
//                                                takes one mask a pair to unpack
//
// q is in [-128, 127], so signed dot products apply. The float formats have no q: they define
// WEIGHT_IS_FLOAT, and their load8 is absent and their scale empty.
//
// Quantised rows are stored in tiles of 8 groups, as weight_layout.cc writes them; the last tile of
// a row may be partly used. `row` is a multiple of 16.
#ifndef TANDEM_DEQUANT_GLSL
#define TANDEM_DEQUANT_GLSL

#extension GL_EXT_buffer_reference : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_control_flow_attributes : require

layout(buffer_reference, std430, buffer_reference_align = 2) readonly buffer Halfword {
  uint16_t value;
};
layout(buffer_reference, std430, buffer_reference_align = 8) readonly buffer WordPair {
  uvec2 value;
};
layout(buffer_reference, std430, buffer_reference_align = 16) readonly buffer WordQuad {
  uvec4 value;
};

struct BlockScale {
  vec2 scale;    // of weights 0-15 and 16-31
  float offset;  // of all 32
};

struct Vec8 {
  vec4 low;   // weights 4i .. 4i+3
  vec4 high;  // weights 16+4i .. 16+4i+3
};

float low_half(uint word) { return unpackHalf2x16(word).x; }

vec4 signed_bytes(uint word) {
  return vec4(bitfieldExtract(int(word), 0, 8), bitfieldExtract(int(word), 8, 8),
              bitfieldExtract(int(word), 16, 8), bitfieldExtract(int(word), 24, 8));
}

vec4 unsigned_bytes(uint word) {
  return vec4(word & 0xffu, (word >> 8) & 0xffu, (word >> 16) & 0xffu, word >> 24);
}

#ifdef DEQUANT_F16
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require

// scale * (q - bias) + offset for four unsigned q. 0x6400 | q is 1024 + q in f16, so the
// subtraction is exact.
uvec2 scale_bytes_f16(uint q, float bias, float scale, float offset) {
  const f16vec2 unbias = f16vec2(float16_t(-1024.0 - bias));
  const f16vec2 even = unpackFloat2x16((q & 0x00ff00ffu) | 0x64006400u) + unbias;
  const f16vec2 odd = unpackFloat2x16(((q >> 8) & 0x00ff00ffu) | 0x64006400u) + unbias;
  const f16vec2 s = f16vec2(float16_t(scale));
  const f16vec2 o = f16vec2(float16_t(offset));
  return uvec2(packFloat2x16(fma(even, s, o)), packFloat2x16(fma(odd, s, o)));
}
#endif

#if defined(WEIGHT_Q4_0)
#include "dequant_q4_0.glsl"
#elif defined(WEIGHT_Q8_0)
#include "dequant_q8_0.glsl"
#elif defined(WEIGHT_Q4_K)
#include "dequant_q4_k.glsl"
#elif defined(WEIGHT_Q6_K)
#include "dequant_q6_k.glsl"
#elif defined(WEIGHT_F16)
#include "dequant_f16.glsl"
#elif defined(WEIGHT_BF16)
#include "dequant_bf16.glsl"
#elif defined(WEIGHT_F32)
#include "dequant_f32.glsl"
#else
#error "define one of WEIGHT_Q4_0, WEIGHT_Q8_0, WEIGHT_Q4_K, WEIGHT_Q6_K, WEIGHT_F16, WEIGHT_BF16, WEIGHT_F32"
#endif

#endif
