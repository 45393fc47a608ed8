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
layout(buffer_reference, scalar, buffer_reference_align = 1) nonprivate buffer Byte {
  int8_t value;
};
layout(buffer_reference, scalar, buffer_reference_align = 2) nonprivate buffer Half {
  uint16_t value;
};

struct Eight {
  float at[8];
};

// Eight consecutive elements as the cache has them, and the scale of theirs.
struct Stored {
  uvec4 low, high;
  uint scale;
};

// Only issues the loads, so that several can be in flight.
Stored load_stored(uint64_t cache, uint64_t scale_address) {
  Stored stored;
  if (kCache == kCacheF16) {
    stored.low = UintQuad(cache).value;
  } else if (kCache == kCacheQ8) {
    stored.low.xy = UintPair(cache).value;
    stored.scale = uint(Half(scale_address).value);
  } else {
    stored.low = UintQuad(cache).value;
    stored.high = UintQuad(cache + 16).value;
  }
  return stored;
}

Eight decode(Stored stored) {
  Eight r;
  if (kCache == kCacheF16) {
    [[unroll]] for (uint i = 0; i < 4; ++i) {
      const vec2 two = unpackHalf2x16(stored.low[i]);
      r.at[2 * i] = two.x;
      r.at[2 * i + 1] = two.y;
    }
  } else if (kCache == kCacheQ8) {
    const float scale = unpackHalf2x16(stored.scale).x;
    [[unroll]] for (uint i = 0; i < 8; ++i)
      r.at[i] = scale * float(bitfieldExtract(int(stored.low[i / 4]), int(8 * (i % 4)), 8));
  } else {
    [[unroll]] for (uint i = 0; i < 4; ++i) {
      r.at[i] = uintBitsToFloat(stored.low[i]);
      r.at[4 + i] = uintBitsToFloat(stored.high[i]);
    }
  }
  return r;
}

Eight load_eight(uint64_t cache, uint64_t scale_address) {
  return decode(load_stored(cache, scale_address));
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

// An element of an int8 cache: q = round(v / d), d = largest / 127 of its group, stored as f16; and
// what a reader gets.
struct Quantised {
  int q;
  uint scale;  // d as f16
  float value;
};

Quantised quantise(float v, float largest) {
  Quantised r;
  r.scale = packHalf2x16(vec2(largest / 127.0, 0.0));
  r.q = int(roundEven(largest > 0.0 ? v * (127.0 / largest) : 0.0));
  r.value = unpackHalf2x16(r.scale).x * float(r.q);
  return r;
}

#endif
