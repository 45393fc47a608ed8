// Matrix multiplication over packed tiles: a register holds one value of each of the tile's rows,
// so no sum ever crosses lanes. Included once per instruction set, inside its namespace.
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
  TANDEM_INLINE void unpack(const uint8_t* p, VF super_scale, VF super_minimum) {
    if constexpr (kHalves) {
      scale[0] = mul(super_scale, load_i8(reinterpret_cast<const int8_t*>(p)));
      scale[1] = mul(super_scale, load_i8(reinterpret_cast<const int8_t*>(p) + kLanes));
    } else if constexpr (kLayout.has_sub_scales()) {
      scale[0] = mul(super_scale, load_u8(p));
      minimum = mul(super_minimum, load_u8(p + kLanes));
    } else {
      scale[0] = super_scale;
      minimum = super_minimum;
    }
    unpack_levels<kBits>(p + kLayout.sub_header_size() * kLanes, levels);
  }

  // sum + the product with block `at` of the quantised row whose arrays are given.
  TANDEM_INLINE VF multiply(const QuantizedRows& x, size_t at, VF sum) const {
    const int8_t* quants = x.quants + at * kBlock;
    const VF x_scale = broadcast(x.scales[at]);
    if constexpr (kHalves) {
      const VI low = dot<kBits, 4>(start(x.minus_halves[2 * at]), levels, quants);
      const VI high = dot<kBits, 4>(start(x.minus_halves[2 * at + 1]), levels + 4, quants + 16);
      const VF both = fma(to_float(high), scale[1], mul(to_float(low), scale[0]));
      return fma(both, x_scale, sum);
    }
    const VI product = dot<kBits, 8>(start(x.minus_sums[at]), levels, quants);
    sum = fma(to_float(product), mul(scale[0], x_scale), sum);
    if constexpr (!kLayout.has_minimum) return sum;
    const VF x_sum = broadcast(x.scaled_sums[at]);
    return kLayout.has_sub_scales() ? fnma(minimum, x_sum, sum) : fma(minimum, x_sum, sum);
  }

 private:
  // Levels are too large by the offset: the sum of offset * x is taken off before it starts.
  static TANDEM_INLINE VI start(const int32_t& minus_sum) {
    if constexpr (kOffset == 0) return broadcast_int(0);
    return shift_left_int<__builtin_ctz(kOffset | 256)>(broadcast_int(minus_sum));
  }
};

// kRows rows of activations by one tile. Blocks are added in order, whatever kRows is, so a row's
// result does not depend on the rows beside it.
template <WeightKind kKind, uint32_t kRows>
void multiply_rows(const MatmulCall& call, const uint8_t* p, uint32_t first_row, float* out,
                   uint32_t lanes) {
  using B = Block<kKind>;
  constexpr uint32_t kSuper = B::kLayout.super_block / kBlock;
  const size_t row_blocks = call.inputs / kBlock;
  VF sums[kRows];
  TANDEM_UNROLL
  for (uint32_t r = 0; r < kRows; ++r) sums[r] = zero();
  size_t at = first_row * row_blocks;
  for (size_t super = 0; super < row_blocks / kSuper; ++super) {
    const VF scale = load_f16(reinterpret_cast<const uint16_t*>(p));
    VF minimum = scale;
    if constexpr (B::kLayout.has_minimum)
      minimum = load_f16(reinterpret_cast<const uint16_t*>(p) + kLanes);
    p += B::kLayout.header_size() * kLanes;
    for (uint32_t sub = 0; sub < kSuper; ++sub, ++at, p += B::kLayout.block_size() * kLanes) {
      B block;
      block.unpack(p, scale, minimum);
      TANDEM_UNROLL
      for (uint32_t r = 0; r < kRows; ++r)
        sums[r] = block.multiply(call.quantized, at + size_t{r} * row_blocks, sums[r]);
    }
  }
  TANDEM_UNROLL
  for (uint32_t r = 0; r < kRows; ++r)
    store_first(out + (first_row + r) * call.out_stride, sums[r], lanes);
}

// The same for float weights, [inputs][lanes]. Four sums by input modulo 4 shorten the chain of
// additions for few rows.
template <WeightKind kKind>
TANDEM_INLINE VF load_weights(const uint8_t* tile, size_t input) {
  if constexpr (kKind == WeightKind::kF32)
    return load(reinterpret_cast<const float*>(tile) + input * kLanes);
  else if constexpr (kKind == WeightKind::kF16)
    return load_f16(reinterpret_cast<const uint16_t*>(tile) + input * kLanes);
  else
    return load_bf16(reinterpret_cast<const uint16_t*>(tile) + input * kLanes);
}

template <WeightKind kKind, uint32_t kRows>
void multiply_float_rows(const MatmulCall& call, const uint8_t* tile, uint32_t first_row,
                         float* out, uint32_t lanes) {
  constexpr uint32_t kParts = 2;
  const float* x = call.floats + first_row * call.floats_stride;
  VF sums[kRows][kParts];
  TANDEM_UNROLL
  for (uint32_t r = 0; r < kRows; ++r) sums[r][0] = sums[r][1] = zero();
  uint32_t k = 0;
  for (; k + kParts <= call.inputs; k += kParts) {
    TANDEM_UNROLL
    for (uint32_t part = 0; part < kParts; ++part) {
      const uint32_t input = k + part;
      const VF w = load_weights<kKind>(tile, input);
      TANDEM_UNROLL
      for (uint32_t r = 0; r < kRows; ++r)
        sums[r][part] = fma(w, broadcast(x[size_t{r} * call.floats_stride + input]), sums[r][part]);
    }
  }
  for (; k < call.inputs; ++k) {
    const VF w = load_weights<kKind>(tile, k);
    TANDEM_UNROLL
    for (uint32_t r = 0; r < kRows; ++r)
      sums[r][0] = fma(w, broadcast(x[size_t{r} * call.floats_stride + k]), sums[r][0]);
  }
  TANDEM_UNROLL
  for (uint32_t r = 0; r < kRows; ++r)
    store_first(out + (first_row + r) * call.out_stride, add(sums[r][0], sums[r][1]), lanes);
}

template <WeightKind kKind, uint32_t kRows>
TANDEM_INLINE void multiply_some(const MatmulCall& call, const uint8_t* tile, uint32_t first_row,
                                 float* out, uint32_t lanes) {
  if constexpr (takes_floats(kKind))
    multiply_float_rows<kKind, kRows>(call, tile, first_row, out, lanes);
  else
    multiply_rows<kKind, kRows>(call, tile, first_row, out, lanes);
}

// Activations are taken by as many rows as stay in the second-level cache while the task's tiles
// pass over them.
template <WeightKind kKind>
void matmul(const MatmulCall& call, uint32_t first_tile, uint32_t count) {
  constexpr PackedLayout kLayout = kPackedLayouts[static_cast<size_t>(kKind)];
  constexpr uint32_t kCacheSize = 384 << 10;
  const size_t tile_size = kLanes * kLayout.row_size(call.inputs);
  const uint8_t* weights = static_cast<const uint8_t*>(call.weights);
  const uint32_t x_size = takes_floats(kKind) ? 4 : 1;
  const uint32_t fitting = kCacheSize / (call.inputs * x_size) / kMatmulRows * kMatmulRows;
  const uint32_t block_rows = fitting < kMatmulRows ? kMatmulRows : fitting;
  for (uint32_t begin = 0; begin < call.rows; begin += block_rows) {
    const uint32_t end = begin + block_rows < call.rows ? begin + block_rows : call.rows;
    for (uint32_t tile = first_tile; tile < first_tile + count; ++tile) {
      const uint8_t* p = weights + tile * tile_size;
      float* out = call.out + size_t{tile} * kLanes;
      const uint32_t left = call.outputs - tile * kLanes;
      const uint32_t lanes = left < kLanes ? left : kLanes;
      uint32_t row = begin;
      for (; row + kMatmulRows <= end; row += kMatmulRows)
        multiply_some<kKind, kMatmulRows>(call, p, row, out, lanes);
      if (kMatmulRows > 4 && row + 4 <= end) {
        multiply_some<kKind, 4>(call, p, row, out, lanes);
        row += 4;
      }
      if (row + 2 <= end) {
        multiply_some<kKind, 2>(call, p, row, out, lanes);
        row += 2;
      }
      if (row < end) multiply_some<kKind, 1>(call, p, row, out, lanes);
    }
  }
}
