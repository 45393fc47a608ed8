// The packed 6-bit scales and minimums of Q4_K and Q5_K: eight of each in 12 bytes.
//
//   byte i     (i < 4): bits 0-5 = scale i       bits 6-7 = bits 4-5 of scale i + 4
//   byte i + 4 (i < 4): bits 0-5 = minimum i     bits 6-7 = bits 4-5 of minimum i + 4
//   byte i + 8 (i < 4): bits 0-3 = scale i + 4   bits 4-7 = bits 0-3 of minimum i + 4
//
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace tandem {

// Of the sub-blocks of 32 weights; each in [0, 63].
struct KScales {
  uint8_t scales[8];
  uint8_t minimums[8];
};

inline KScales unpack_k_scales(const uint8_t packed[12]) {
  KScales k;
  for (size_t i = 0; i < 4; ++i) {
    k.scales[i] = packed[i] & 0x3F;
    k.minimums[i] = packed[i + 4] & 0x3F;
    k.scales[i + 4] = static_cast<uint8_t>((packed[i + 8] & 0x0F) | ((packed[i] >> 6) << 4));
    k.minimums[i + 4] = static_cast<uint8_t>((packed[i + 8] >> 4) | ((packed[i + 4] >> 6) << 4));
  }
  return k;
}

inline void pack_k_scales(const KScales& k, uint8_t packed[12]) {
  for (size_t i = 0; i < 4; ++i) {
    packed[i] = static_cast<uint8_t>(k.scales[i] | ((k.scales[i + 4] >> 4) << 6));
    packed[i + 4] = static_cast<uint8_t>(k.minimums[i] | ((k.minimums[i + 4] >> 4) << 6));
    packed[i + 8] =
        static_cast<uint8_t>((k.scales[i + 4] & 0x0F) | ((k.minimums[i + 4] & 0x0F) << 4));
  }
}

}  // namespace tandem
