// Q8_0 in tiles of 8 groups, 272 bytes: 8 x 32 int8 q, then 8 f16 d. w = d * q.
// SPDX-License-Identifier: Apache-2.0

const uint kTileBytes = 272;

struct Block {
  uvec4 low;   // weights 0-15
  uvec4 high;  // weights 16-31
  uint d;
};

Block load_block(uint64_t row, uint group) {
  Block block;
  const uint64_t tile = row + (group >> 3) * kTileBytes;
  block.low = WordQuad(tile + 32 * (group & 7u)).value;
  block.high = WordQuad(tile + 32 * (group & 7u) + 16).value;
  block.d = uint(Halfword(tile + 256 + 2 * (group & 7u)).value);
  return block;
}

BlockScale block_scale(Block block) { return BlockScale(vec2(low_half(block.d)), 0.0); }

uvec2 load8(Block block, uint i) { return uvec2(block.low[i], block.high[i]); }

Vec8 dequant8(Block block, BlockScale s, uint i) {
  const uvec2 q = load8(block, i);
  return Vec8(s.scale.x * signed_bytes(q.x), s.scale.y * signed_bytes(q.y));
}

#ifdef DEQUANT_F16
uvec4 dequant8_f16(Block block, BlockScale s, uint i) {
  const uvec2 q = load8(block, i) ^ 0x80808080u;
  return uvec4(scale_bytes_f16(q.x, 128.0, s.scale.x, 0.0),
               scale_bytes_f16(q.y, 128.0, s.scale.y, 0.0));
}
#endif
