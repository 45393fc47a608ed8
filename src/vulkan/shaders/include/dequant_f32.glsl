// F32: four bytes a weight.
// SPDX-License-Identifier: Apache-2.0

#define WEIGHT_IS_FLOAT 1

struct Block {
  uvec4 quads[8];
};

Block load_block(uint64_t row, uint group) {
  Block block;
  const uint64_t address = row + group * 128;
  [[unroll]] for (uint i = 0; i < 8; ++i) block.quads[i] = WordQuad(address + 16 * i).value;
  return block;
}

BlockScale block_scale(Block block) { return BlockScale(vec2(1.0), 0.0); }

Vec8 dequant8(Block block, BlockScale s, uint i) {
  return Vec8(uintBitsToFloat(block.quads[i]), uintBitsToFloat(block.quads[4 + i]));
}

#ifdef DEQUANT_F16
uvec4 dequant8_f16(Block block, BlockScale s, uint i) {
  const Vec8 w = dequant8(block, s, i);
  return uvec4(packHalf2x16(w.low.xz), packHalf2x16(w.low.yw), packHalf2x16(w.high.xz),
               packHalf2x16(w.high.yw));
}
#endif
