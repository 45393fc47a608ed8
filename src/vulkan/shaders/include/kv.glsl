// Rows of the KV cache: f16, f32, or int8 with an f16 scale per 32 elements.
// SPDX-License-Identifier: Apache-2.0
#ifndef TANDEM_KV_GLSL
#define TANDEM_KV_GLSL

layout(constant_id = 2) const uint kCache = kCacheF16;

const uint kCacheBytes = kCache == kCacheF16 ? 2 : kCache == kCacheQ8 ? 1 : 4;  // an element

layout(buffer_reference, scalar, buffer_reference_align = 16) nonprivate buffer UintQuad {
  uvec4 value;
};
layout(buffer_reference, scalar, buffer_reference_align = 8) nonprivate buffer UintPair {
  uvec2 value;
};
layout(buffer_reference, scalar, buffer_reference_align = 2) nonprivate buffer Half {
  uint16_t value;
};

struct Eight {
  float at[8];
};

// Eight consecutive elements, and the scale of theirs.
Eight load_eight(uint64_t cache, uint64_t scale_address) {
  Eight r;
  if (kCache == kCacheF16) {
    const uvec4 words = UintQuad(cache).value;
    [[unroll]] for (uint i = 0; i < 4; ++i) {
      const vec2 two = unpackHalf2x16(words[i]);
      r.at[2 * i] = two.x;
      r.at[2 * i + 1] = two.y;
    }
  } else if (kCache == kCacheQ8) {
    const uvec2 words = UintPair(cache).value;
    const float scale = unpackHalf2x16(uint(Half(scale_address).value)).x;
    [[unroll]] for (uint i = 0; i < 8; ++i)
      r.at[i] = scale * float(bitfieldExtract(int(words[i / 4]), int(8 * (i % 4)), 8));
  } else {
    const vec4 low = QuadArray(cache).at[0], high = QuadArray(cache).at[1];
    [[unroll]] for (uint i = 0; i < 4; ++i) {
      r.at[i] = low[i];
      r.at[4 + i] = high[i];
    }
  }
  return r;
}

// Elements 2i and 2i+1 of a row that is not int8.
void store_pair(uint64_t row, uint i, vec2 values) {
  if (kCache == kCacheF16) {
    UintArray(row).at[i] = packHalf2x16(values);
  } else {
    FloatArray(row).at[2 * i] = values.x;
    FloatArray(row).at[2 * i + 1] = values.y;
  }
}

// A group of 32 elements as int8: q = round(v / d), d = max / 127, stored as f16.
void store_group(uint64_t cache, uint64_t scale_address, float values[32]) {
  float largest = 0.0;
  [[unroll]] for (uint i = 0; i < 32; ++i) largest = max(largest, abs(values[i]));
  Half(scale_address).value = uint16_t(packHalf2x16(vec2(largest / 127.0, 0.0)));
  const float inverse = largest > 0.0 ? 127.0 / largest : 0.0;
  [[unroll]] for (uint i = 0; i < 8; ++i) {
    uint word = 0;
    [[unroll]] for (uint j = 0; j < 4; ++j)
      word |= (uint(int(roundEven(values[4 * i + j] * inverse))) & 0xffu) << (8 * j);
    UintArray(cache).at[i] = word;
  }
}

#endif
