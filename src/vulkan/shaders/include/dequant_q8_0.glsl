// Q8_0: 34 bytes for 32 weights. Bytes 0-1: f16 d. Byte 2+k: int8 q of weight k. w = d * q.
// SPDX-License-Identifier: Apache-2.0

const uint kGroupBytes = 34;

struct Block {
  uint words[9];  // the aligned words that hold the 34 bytes
  bool odd;       // the block begins in the middle of words[0]
};

Block load_block(uint64_t row, uint group) {
  Block block;
  const uint64_t address = row + group * kGroupBytes;
  block.odd = (uint(address) & 2u) != 0;
  Words words = Words(address & ~uint64_t(3));
  [[unroll]] for (uint i = 0; i < 9; ++i) block.words[i] = words.at[i];
  return block;
}

BlockScale block_scale(Block block) {
  return BlockScale(vec2(low_half(block.odd ? block.words[0] >> 16 : block.words[0])), 0.0);
}

uvec2 load8(Block block, uint i) {
  return uvec2(join_halves(block.words[i], block.words[i + 1], block.odd),
               join_halves(block.words[i + 4], block.words[i + 5], block.odd));
}

Vec8 dequant8(Block block, BlockScale s, uint i) {
  const uvec2 q = load8(block, i);
  return Vec8(s.scale.x * signed_bytes(q.x), s.scale.y * signed_bytes(q.y));
}
