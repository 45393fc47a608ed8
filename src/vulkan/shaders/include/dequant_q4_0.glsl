// Q4_0: 18 bytes for 32 weights. Bytes 0-1: f16 d. Byte 2+k: q of weight k in the low nibble, of
// weight k+16 in the high one. w = d * (q - 8).
// SPDX-License-Identifier: Apache-2.0

const uint kGroupBytes = 18;

struct Block {
  uint words[5];  // the aligned words that hold the 18 bytes
  bool odd;       // the block begins in the middle of words[0]
};

Block load_block(uint64_t row, uint group) {
  Block block;
  const uint64_t address = row + group * kGroupBytes;
  block.odd = (uint(address) & 2u) != 0;
  Words words = Words(address & ~uint64_t(3));
  [[unroll]] for (uint i = 0; i < 5; ++i) block.words[i] = words.at[i];
  return block;
}

BlockScale block_scale(Block block) {
  const float d = low_half(block.odd ? block.words[0] >> 16 : block.words[0]);
  return BlockScale(vec2(d), -8.0 * d);
}

uvec2 load8(Block block, uint i) {
  const uint word = join_halves(block.words[i], block.words[i + 1], block.odd);
  return uvec2(word & 0x0f0f0f0fu, (word >> 4) & 0x0f0f0f0fu);
}

Vec8 dequant8(Block block, BlockScale s, uint i) {
  const uvec2 q = load8(block, i);
  return Vec8(s.scale.x * unsigned_bytes(q.x) + s.offset,
              s.scale.y * unsigned_bytes(q.y) + s.offset);
}
