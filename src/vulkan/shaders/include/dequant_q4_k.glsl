// Q4_K: 144 bytes for 256 weights, 8 groups of 32. Bytes 0-1: f16 d, 2-3: f16 dmin, 4-15: eight
// 6-bit scales s and minima m, 16-143: nibbles, 32 bytes for each pair of groups (the even group
// in the low nibbles). w = d * s * q - dmin * m.
//
// Bytes 4-7 hold s of groups 0-3 in their low 6 bits, bytes 8-11 m of groups 0-3. Bytes 12-15 hold
// the low 4 bits of s (low nibble) and m (high nibble) of groups 4-7, whose upper 2 bits are the
// upper 2 bits of bytes 4-7 and 8-11.
// SPDX-License-Identifier: Apache-2.0

const uint kSuperBlockBytes = 144;

struct Block {
  uvec4 header;
  uvec4 nibbles[2];
  uint group;  // within the super-block
};

Block load_block(uint64_t row, uint group) {
  Block block;
  const uint64_t address = row + (group >> 3) * kSuperBlockBytes;
  block.group = group & 7u;
  block.header = WordQuad(address).value;
  const uint64_t nibbles = address + 16 + 32 * (block.group >> 1);
  block.nibbles[0] = WordQuad(nibbles).value;
  block.nibbles[1] = WordQuad(nibbles + 16).value;
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
  const uint shift = 4u * (block.group & 1u);
  return (uvec2(block.nibbles[0][i], block.nibbles[1][i]) >> shift) & 0x0f0f0f0fu;
}

Vec8 dequant8(Block block, BlockScale s, uint i) {
  const uvec2 q = load8(block, i);
  return Vec8(s.scale.x * unsigned_bytes(q.x) + s.offset,
              s.scale.y * unsigned_bytes(q.y) + s.offset);
}
