// Q4_0 in tiles of 8 groups, 144 bytes: 8 x 16 bytes of nibbles, then 8 f16 d. In a group byte k
// holds q of weight k in the low nibble, of weight k+16 in the high one. w = d * (q - 8).
// SPDX-License-Identifier: Apache-2.0

const uint kTileBytes = 144;

struct Block {
  uvec4 nibbles;
  uint d;
};

Block load_block(uint64_t row, uint group) {
  Block block;
  const uint64_t tile = row + (group >> 3) * kTileBytes;
  block.nibbles = WordQuad(tile + 16 * (group & 7u)).value;
  block.d = uint(Halfword(tile + 128 + 2 * (group & 7u)).value);
  return block;
}

BlockScale block_scale(Block block) {
  const float d = low_half(block.d);
  return BlockScale(vec2(d), -8.0 * d);
}

uvec2 load8(Block block, uint i) {
  const uint word = block.nibbles[i];
  return uvec2(word & 0x0f0f0f0fu, (word >> 4) & 0x0f0f0f0fu);
}

Vec8 dequant8(Block block, BlockScale s, uint i) {
  const uvec2 q = load8(block, i);
  return Vec8(s.scale.x * unsigned_bytes(q.x) + s.offset,
              s.scale.y * unsigned_bytes(q.y) + s.offset);
}

#ifdef DEQUANT_F16
uvec4 dequant8_f16(Block block, BlockScale s, uint i) {
  const uvec2 q = load8(block, i);
  return uvec4(scale_bytes_f16(q.x, 8.0, s.scale.x, 0.0),
               scale_bytes_f16(q.y, 8.0, s.scale.y, 0.0));
}
#endif
