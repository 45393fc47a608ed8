// Blocks of packed weights as register operands: unsigned levels and float factors. Included once
// per instruction set, inside its namespace.
// SPDX-License-Identifier: Apache-2.0

// Levels of 32 inputs by 16 or 8 rows, one byte each: vector g holds inputs 4g .. 4g + 3.
template <int kBits>
TANDEM_INLINE void unpack_levels(const uint8_t* p, VI* levels) {
  constexpr uint32_t kVector = kLanes * 4;
  if constexpr (kBits == 8) {
    TANDEM_UNROLL
    for (uint32_t j = 0; j < 8; ++j) levels[j] = signed_bytes(load_bytes(p + j * kVector));
    return;
  }
  TANDEM_UNROLL
  for (uint32_t j = 0; j < 4; ++j) {
    const VI nibbles = load_bytes(p + j * kVector);
    levels[j] = mask_bytes(nibbles, 0x0F);
    levels[j + 4] = mask_bytes(shift_right<4>(nibbles), 0x0F);
  }
  if constexpr (kBits == 5) {
    const VI high = load_bytes(p + 4 * kVector);
    levels[0] = mask_or(shift_left<4>(high), 0x10, levels[0]);
    levels[1] = mask_or(shift_left<3>(high), 0x10, levels[1]);
    levels[2] = mask_or(shift_left<2>(high), 0x10, levels[2]);
    levels[3] = mask_or(shift_left<1>(high), 0x10, levels[3]);
    levels[4] = mask_or(high, 0x10, levels[4]);
    levels[5] = mask_or(shift_right<1>(high), 0x10, levels[5]);
    levels[6] = mask_or(shift_right<2>(high), 0x10, levels[6]);
    levels[7] = mask_or(shift_right<3>(high), 0x10, levels[7]);
  }
  if constexpr (kBits == 6) {
    TANDEM_UNROLL
    for (uint32_t v = 0; v < 2; ++v) {
      const VI high = load_bytes(p + (4 + v) * kVector);
      levels[4 * v] = mask_or(shift_left<4>(high), 0x30, levels[4 * v]);
      levels[4 * v + 1] = mask_or(shift_left<2>(high), 0x30, levels[4 * v + 1]);
      levels[4 * v + 2] = mask_or(high, 0x30, levels[4 * v + 2]);
      levels[4 * v + 3] = mask_or(shift_right<2>(high), 0x30, levels[4 * v + 3]);
    }
  }
}

// Levels and float factors of 32 inputs. weight = scale * (level - offset) [+ minimum].
template <WeightKind kKind>
struct Block {
  static constexpr PackedLayout kLayout = kPackedLayouts[static_cast<size_t>(kKind)];
  static constexpr int kBits = static_cast<int>(kLayout.level_bits);
  static constexpr bool kHalves = kLayout.scales_per_32 == 2;
  static constexpr int kOffset = kBits == 8 && kSignedBytes ? 0 : kLayout.offset;

  VI levels[8];
  VF scale[2];  // of the 32 inputs, or of each 16
  VF minimum;

  // `super_scale` and `super_minimum` belong to the super-block around.
  TANDEM_INLINE void unpack(const uint8_t* sub_factors, const uint8_t* packed, VF super_scale,
                            VF super_minimum) {
    scale[0] = super_scale;
    minimum = super_minimum;
    if constexpr (kHalves) {
      const int8_t* scales = reinterpret_cast<const int8_t*>(sub_factors);
      scale[0] = mul(super_scale, load_i8(scales));
      scale[1] = mul(super_scale, load_i8(scales + kLanes));
    } else if constexpr (kLayout.has_sub_scales()) {
      scale[0] = mul(super_scale, load_u8(sub_factors));
      minimum = mul(super_minimum, load_u8(sub_factors + kLanes));
    }
    unpack_levels<kBits>(packed, levels);
  }

  // Levels are too large by the offset: the sum of offset * x is taken off before it starts.
  static TANDEM_INLINE VI start(const int32_t& minus_sum) {
    if constexpr (kOffset == 0) return broadcast_int(0);
    return shift_left_int<__builtin_ctz(kOffset | 256)>(broadcast_int(minus_sum));
  }
};
