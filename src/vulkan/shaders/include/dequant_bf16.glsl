// BF16: two bytes a weight, the upper half of an f32.
// SPDX-License-Identifier: Apache-2.0

#define WEIGHT_IS_FLOAT 1

const uint kGroupBytes = 64;

struct Block {
  uvec4 quads[4];
};

Block load_block(uint64_t row, uint group) {
  Block block;
  const uint64_t address = row + group * kGroupBytes;
  [[unroll]] for (uint i = 0; i < 4; ++i) block.quads[i] = WordQuad(address + 16 * i).value;
  return block;
}

BlockScale block_scale(Block block) { return BlockScale(vec2(1.0), 0.0); }

vec4 four_weights(uvec2 words) {
  return uintBitsToFloat(uvec4(words.x << 16, words.x & 0xffff0000u, words.y << 16,
                              words.y & 0xffff0000u));
}

Vec8 dequant8(Block block, BlockScale s, uint i) {
  const uvec4 low = block.quads[i >> 1];
  const uvec4 high = block.quads[2 + (i >> 1)];
  return (i & 1u) == 0 ? Vec8(four_weights(low.xy), four_weights(high.xy))
                       : Vec8(four_weights(low.zw), four_weights(high.zw));
}

#ifdef DEQUANT_F16
uvec4 dequant8_f16(Block block, BlockScale s, uint i) {
  const Vec8 w = dequant8(block, s, i);
  return uvec4(packHalf2x16(w.low.xz), packHalf2x16(w.low.yw), packHalf2x16(w.high.xz),
               packHalf2x16(w.high.yw));
}
#endif
