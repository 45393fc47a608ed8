// Q6_K in tiles of 8 groups, 224 bytes: 8 x 16 bytes of low 4 bits, 8 x 8 bytes of upper 2 bits, 16
// int8 scales (one per 16 weights), f16 d, 14 bytes of padding. w = d * s * (q - 32).
//
// In a group, byte k of the low bits serves weight k (low nibble) and k+16 (high nibble). Weight
// 16h + 4i + b has its upper bits in bits 2i and 2i+1 of byte b of the group's upper word h.
// SPDX-License-Identifier: Apache-2.0

const uint kTileBytes = 224;

struct Block {
  uvec4 low;
  uvec2 high;
  uint scales;  // two int8
  uint d;
};

Block load_block(uint64_t row, uint group) {
  Block block;
  const uint64_t tile = row + (group >> 3) * kTileBytes;
  block.low = WordQuad(tile + 16 * (group & 7u)).value;
  block.high = WordPair(tile + 128 + 8 * (group & 7u)).value;
  block.scales = uint(Halfword(tile + 192 + 2 * (group & 7u)).value);
  block.d = uint(Halfword(tile + 208).value);
  return block;
}

BlockScale block_scale(Block block) {
  const int scales = int(block.scales);
  const vec2 s = vec2(bitfieldExtract(scales, 0, 8), bitfieldExtract(scales, 8, 8));
  return BlockScale(low_half(block.d) * s, 0.0);
}

uvec2 unsigned8(Block block, uint i) {
  const uint low = block.low[i];
  const uvec2 high = (block.high >> (2u * i)) & 0x03030303u;
  return uvec2(low & 0x0f0f0f0fu, (low >> 4) & 0x0f0f0f0fu) | (high << 4);
}

// The subtraction of 32 works on four bytes at once: bit 7 keeps borrows from crossing bytes.
uvec2 load8(Block block, uint i) {
  return ((unsigned8(block, i) | 0x80808080u) - 0x20202020u) ^ 0x80808080u;
}

Vec8 dequant8(Block block, BlockScale s, uint i) {
  const uvec2 q = load8(block, i);
  return Vec8(s.scale.x * signed_bytes(q.x), s.scale.y * signed_bytes(q.y));
}

#ifdef DEQUANT_F16
uvec4 dequant8_f16(Block block, BlockScale s, uint i) {
  const uvec2 q = unsigned8(block, i);
  return uvec4(scale_bytes_f16(q.x, 32.0, s.scale.x, 0.0),
               scale_bytes_f16(q.y, 32.0, s.scale.y, 0.0));
}
#endif
