// Q4_K in tiles of 8 groups, 144 bytes. Bytes 0-1: f16 d, 2-3: f16 dmin, 4-15: eight 6-bit scales
// s and minima m, then 8 x 16 bytes of nibbles: byte k of a group holds q of weight k in the low
// nibble, of weight k+16 in the high one. w = d * s * q - dmin * m.
//
// Bytes 4-7 hold s of groups 0-3 in their low 6 bits, bytes 8-11 m of groups 0-3. Bytes 12-15 hold
// the low 4 bits of s (low nibble) and m (high nibble) of groups 4-7, whose upper 2 bits are the
// upper 2 bits of bytes 4-7 and 8-11.
// SPDX-License-Identifier: Apache-2.0

const uint kTileBytes = 144;

struct Block {
  uvec4 header;
  uvec4 nibbles;
  uint group;  // within the tile
};

Block load_block(uint64_t row, uint group) {
  Block block;
  const uint64_t tile = row + (group >> 3) * kTileBytes;
  block.group = group & 7u;
  block.header = WordQuad(tile).value;
  block.nibbles = WordQuad(tile + 16 + 16 * block.group).value;
  return block;
}

BlockScale block_scale(Block block) {
  const vec2 d = unpackHalf2x16(block.header.x);
  const uvec3 bytes = (block.header.yzw >> (8u * (block.group & 3u))) & 0xffu;
  const bool lower = block.group < 4;
  const uint s = lower ? bytes.x & 63u : (bytes.z & 15u) | ((bytes.x >> 6) << 4);
  const uint m = lower ? bytes.y & 63u : (bytes.z >> 4) | ((bytes.y >> 6) << 4);
  return BlockScale(vec2(d.x * float(s)), -d.y * float(m));
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
  return uvec4(scale_bytes_f16(q.x, 0.0, s.scale.x, s.offset),
               scale_bytes_f16(q.y, 0.0, s.scale.y, s.offset));
}
#endif
