// Q6_K: 210 bytes for 256 weights, two halves of 128, each of four groups of 32. Bytes 0-127: low
// 4 bits, 64 bytes a half (groups 0 and 1 in the low nibbles, 2 and 3 in the high ones).
// 128-191: upper 2 bits, 32 bytes a half, group j in bits 2j and 2j+1. 192-207: int8 scales, one
// per 16 weights. 208-209: f16 d. w = d * s * (q - 32).
// SPDX-License-Identifier: Apache-2.0

const uint kSuperBlockBytes = 210;

struct Block {
  uint low[9];   // the aligned words that hold the group's 32 bytes of low bits
  uint high[9];  // and of upper bits
  uint scales;   // two int8
  uint d;
  uint group;  // within the half
  bool odd;    // the super-block begins in the middle of a word
};

Block load_block(uint64_t row, uint group) {
  Block block;
  const uint64_t address = row + (group >> 3) * kSuperBlockBytes;
  const uint half_index = (group >> 2) & 1u;
  block.group = group & 3u;
  block.odd = (uint(address) & 2u) != 0;
  const uint64_t aligned = address & ~uint64_t(3);
  Words low = Words(aligned + 64 * half_index + 32 * (block.group & 1u));
  Words high = Words(aligned + 128 + 32 * half_index);
  [[unroll]] for (uint i = 0; i < 9; ++i) {
    block.low[i] = low.at[i];
    block.high[i] = high.at[i];
  }
  block.scales = uint(Halfword(address + 192 + 2 * (group & 7u)).value);
  block.d = uint(Halfword(address + 208).value);
  return block;
}

BlockScale block_scale(Block block) {
  const int scales = int(block.scales);
  const vec2 s = vec2(bitfieldExtract(scales, 0, 8), bitfieldExtract(scales, 8, 8));
  return BlockScale(low_half(block.d) * s, 0.0);
}

// The subtraction of 32 works on four bytes at once: bit 7 keeps borrows from crossing bytes.
uint q6_word(uint low, uint high, uint group) {
  const uint q = ((low >> (4u * (group >> 1))) & 0x0f0f0f0fu) |
                 (((high >> (2u * group)) & 0x03030303u) << 4);
  return ((q | 0x80808080u) - 0x20202020u) ^ 0x80808080u;
}

uvec2 load8(Block block, uint i) {
  // The bytes begin where the block does, unlike Q4_0's and Q8_0's, which follow a scale.
  const bool on_word = !block.odd;
  uvec2 low, high;
  [[unroll]] for (uint h = 0; h < 2; ++h) {
    const uint k = i + 4 * h;
    low[h] = on_word ? block.low[k] : join_halves(block.low[k], block.low[k + 1], false);
    high[h] = on_word ? block.high[k] : join_halves(block.high[k], block.high[k + 1], false);
  }
  return uvec2(q6_word(low.x, high.x, block.group), q6_word(low.y, high.y, block.group));
}

Vec8 dequant8(Block block, BlockScale s, uint i) {
  const uvec2 q = load8(block, i);
  return Vec8(s.scale.x * signed_bytes(q.x), s.scale.y * signed_bytes(q.y));
}
