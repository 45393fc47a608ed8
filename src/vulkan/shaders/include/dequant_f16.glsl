// F16: two bytes a weight.
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
  return vec4(unpackHalf2x16(words.x), unpackHalf2x16(words.y));
}

Vec8 dequant8(Block block, BlockScale s, uint i) {
  const uvec4 low = block.quads[i >> 1];
  const uvec4 high = block.quads[2 + (i >> 1)];
  return (i & 1u) == 0 ? Vec8(four_weights(low.xy), four_weights(high.xy))
                       : Vec8(four_weights(low.zw), four_weights(high.zw));
}

#ifdef DEQUANT_F16
uvec2 swap_middle(uvec2 words) {
  return uvec2((words.x & 0xffffu) | (words.y << 16), (words.x >> 16) | (words.y & 0xffff0000u));
}

uvec4 dequant8_f16(Block block, BlockScale s, uint i) {
  const uvec4 low = block.quads[i >> 1];
  const uvec4 high = block.quads[2 + (i >> 1)];
  return (i & 1u) == 0 ? uvec4(swap_middle(low.xy), swap_middle(high.xy))
                       : uvec4(swap_middle(low.zw), swap_middle(high.zw));
}
#endif
