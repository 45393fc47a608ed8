// Matrix multiplication over packed tiles: a register holds one value of each of the tile's rows,
// so no sum ever crosses lanes. Included once per instruction set, inside its namespace.
// SPDX-License-Identifier: Apache-2.0

// sums[t] += the product of tile t's block with block `at` of the quantised activations.
template <WeightKind kKind, uint32_t kTiles>
TANDEM_INLINE void multiply_block(const Block<kKind>* tiles, const QuantizedRows& x, size_t at,
                                  VF* sums) {
  using B = Block<kKind>;
  const int8_t* quants = x.quants + at * kBlock;
  const VF x_scale = broadcast(x.scales[at]);
  const VI* levels[kTiles];
  VI products[kTiles];
  TANDEM_UNROLL
  for (uint32_t t = 0; t < kTiles; ++t) levels[t] = tiles[t].levels;
  if constexpr (B::kHalves) {
    VI high[kTiles];
    const VI start_low = B::start(x.minus_halves[2 * at]);
    const VI start_high = B::start(x.minus_halves[2 * at + 1]);
    dot<B::kBits, 4, kTiles>(start_low, levels, quants, products);
    TANDEM_UNROLL
    for (uint32_t t = 0; t < kTiles; ++t) levels[t] += 4;
    dot<B::kBits, 4, kTiles>(start_high, levels, quants + 16, high);
    TANDEM_UNROLL
    for (uint32_t t = 0; t < kTiles; ++t) {
      const VF low = mul(to_float(products[t]), tiles[t].scale[0]);
      sums[t] = fma(fma(to_float(high[t]), tiles[t].scale[1], low), x_scale, sums[t]);
    }
    return;
  }
  dot<B::kBits, 8, kTiles>(B::start(x.minus_sums[at]), levels, quants, products);
  TANDEM_UNROLL
  for (uint32_t t = 0; t < kTiles; ++t) {
    sums[t] = fma(to_float(products[t]), mul(tiles[t].scale[0], x_scale), sums[t]);
    if constexpr (!B::kLayout.has_minimum) continue;
    const VF x_sum = broadcast(x.scaled_sums[at]);
    sums[t] = B::kLayout.has_sub_scales() ? fnma(tiles[t].minimum, x_sum, sums[t])
                                          : fma(tiles[t].minimum, x_sum, sums[t]);
  }
}

// Where a group of tiles begins and what it makes up.
struct TileGroup {
  const uint8_t* weights;
  size_t tile_size;  // bytes from tile to tile
  float* out;        // of row 0
  uint32_t outputs;  // columns to write: as many as the matrix has left
};

// How far ahead of one row's products their weights are asked for. Factors and levels are two
// streams a few KiB apart, which the hardware's prefetchers follow badly; asked for in the order of
// addresses they come at the speed of one. `tandem bench -p 0 -n 32 -t 2`, 1B in Q4_0 on two Zen 5
// cores of a shared host, alternating: 47 tok/s without and 68 with it while the host was calm, 45
// and 51 (medians of 18) while it was not; 2 to 12 KiB do not differ by more than the noise.
constexpr size_t kPrefetchDistance = 4096;

template <size_t kSize>
TANDEM_INLINE void prefetch(const uint8_t* p) {
  constexpr size_t kLine = 64;
  TANDEM_UNROLL
  for (size_t at = 0; at < kSize; at += kLine) __builtin_prefetch(p + at);
}

template <uint32_t kTiles>
TANDEM_INLINE void store_tiles(float* out, const VF* sums, uint32_t outputs) {
  TANDEM_UNROLL
  for (uint32_t t = 0; t < kTiles; ++t) {
    const uint32_t left_over = outputs - t * kLanes;
    store_first(out + t * kLanes, sums[t], left_over < kLanes ? left_over : kLanes);
  }
}

// kRows rows of activations by kTiles tiles. Blocks are added in order, whatever the two are, so a
// row's result does not depend on the rows beside it.
template <WeightKind kKind, uint32_t kRows, uint32_t kTiles>
void multiply_rows(const MatmulCall& call, const TileGroup& group, uint32_t first_row) {
  using B = Block<kKind>;
  constexpr uint32_t kSuper = B::kLayout.super_block / kBlock;
  // Bytes of 32 inputs, their share of the super-block's factors included.
  constexpr size_t kSize =
      (B::kLayout.factors_size() + kSuper * B::kLayout.levels_size()) * size_t{kLanes} / kSuper;
  const size_t row_blocks = call.inputs / kBlock;
  VF sums[kRows][kTiles];
  TANDEM_UNROLL
  for (uint32_t r = 0; r < kRows; ++r) {
    TANDEM_UNROLL
    for (uint32_t t = 0; t < kTiles; ++t) sums[r][t] = zero();
  }
  const uint8_t* factors = group.weights;
  const uint8_t* levels = factors + B::kLayout.levels_offset(call.inputs, kLanes);
  const uint8_t* ahead = group.weights + kPrefetchDistance;
  size_t at = first_row * row_blocks;
  for (size_t super = 0; super < row_blocks / kSuper; ++super) {
    VF scale[kTiles], minimum[kTiles];
    TANDEM_UNROLL
    for (uint32_t t = 0; t < kTiles; ++t) {
      const uint16_t* halves = reinterpret_cast<const uint16_t*>(factors + t * group.tile_size);
      scale[t] = load_f16(halves);
      minimum[t] = B::kLayout.has_minimum ? load_f16(halves + kLanes) : scale[t];
    }
    factors += (B::kLayout.has_minimum ? 4 : 2) * kLanes;
    for (uint32_t sub = 0; sub < kSuper; ++sub, ++at) {
      if constexpr (kRows == 1) {
        prefetch<kSize>(ahead);
        ahead += kSize;
      }
      B tiles[kTiles];
      TANDEM_UNROLL
      for (uint32_t t = 0; t < kTiles; ++t)
        tiles[t].unpack(factors + t * group.tile_size, levels + t * group.tile_size, scale[t],
                        minimum[t]);
      factors += B::kLayout.sub_factors_size() * kLanes;
      levels += B::kLayout.levels_size() * kLanes;
      TANDEM_UNROLL
      for (uint32_t r = 0; r < kRows; ++r)
        multiply_block<kKind, kTiles>(tiles, call.quantized, at + r * row_blocks, sums[r]);
    }
  }
  TANDEM_UNROLL
  for (uint32_t r = 0; r < kRows; ++r)
    store_tiles<kTiles>(group.out + (first_row + r) * call.out_stride, sums[r], group.outputs);
}

template <WeightKind kKind>
TANDEM_INLINE VF load_weights(const uint8_t* tile, size_t input) {
  if constexpr (kKind == WeightKind::kF32)
    return load(reinterpret_cast<const float*>(tile) + input * kLanes);
  else if constexpr (kKind == WeightKind::kF16)
    return load_f16(reinterpret_cast<const uint16_t*>(tile) + input * kLanes);
  else
    return load_bf16(reinterpret_cast<const uint16_t*>(tile) + input * kLanes);
}

// One input's weights times the activations of kRows rows.
template <WeightKind kKind, uint32_t kRows, uint32_t kTiles>
TANDEM_INLINE void multiply_input(const TileGroup& group, const float* x, size_t stride,
                                  size_t input, VF (*sums)[kTiles]) {
  VF weights[kTiles];
  TANDEM_UNROLL
  for (uint32_t t = 0; t < kTiles; ++t)
    weights[t] = load_weights<kKind>(group.weights + t * group.tile_size, input);
  TANDEM_UNROLL
  for (uint32_t r = 0; r < kRows; ++r) {
    const VF factor = broadcast(x[r * stride + input]);
    TANDEM_UNROLL
    for (uint32_t t = 0; t < kTiles; ++t) sums[r][t] = fma(weights[t], factor, sums[r][t]);
  }
}

// The same for float weights. Even and odd inputs are added apart, for with one row a single chain
// of additions would be slower than memory.
template <WeightKind kKind, uint32_t kRows, uint32_t kTiles>
void multiply_float_rows(const MatmulCall& call, const TileGroup& group, uint32_t first_row) {
  const float* x = call.floats + first_row * call.floats_stride;
  const size_t stride = call.floats_stride;
  VF even[kRows][kTiles], odd[kRows][kTiles];
  TANDEM_UNROLL
  for (uint32_t r = 0; r < kRows; ++r) {
    TANDEM_UNROLL
    for (uint32_t t = 0; t < kTiles; ++t) even[r][t] = odd[r][t] = zero();
  }
  uint32_t k = 0;
  for (; k + 2 <= call.inputs; k += 2) {
    multiply_input<kKind, kRows, kTiles>(group, x, stride, k, even);
    multiply_input<kKind, kRows, kTiles>(group, x, stride, k + 1, odd);
  }
  if (k < call.inputs) multiply_input<kKind, kRows, kTiles>(group, x, stride, k, even);
  TANDEM_UNROLL
  for (uint32_t r = 0; r < kRows; ++r) {
    TANDEM_UNROLL
    for (uint32_t t = 0; t < kTiles; ++t) even[r][t] = add(even[r][t], odd[r][t]);
    store_tiles<kTiles>(group.out + (first_row + r) * call.out_stride, even[r], group.outputs);
  }
}

template <WeightKind kKind, uint32_t kRows, uint32_t kTiles>
TANDEM_INLINE void multiply(const MatmulCall& call, const TileGroup& group, uint32_t first_row) {
  if constexpr (takes_floats(kKind))
    multiply_float_rows<kKind, kRows, kTiles>(call, group, first_row);
  else
    multiply_rows<kKind, kRows, kTiles>(call, group, first_row);
}

// Rows [begin, end) by one group of tiles.
template <WeightKind kKind, uint32_t kTiles>
void multiply_group(const MatmulCall& call, const TileGroup& group, uint32_t begin, uint32_t end) {
  constexpr uint32_t kRows = kMatmulRows<kTiles>;
  uint32_t row = begin;
  for (; row + kRows <= end; row += kRows) multiply<kKind, kRows, kTiles>(call, group, row);
  if (kRows > 4 && row + 4 <= end) {
    multiply<kKind, 4, kTiles>(call, group, row);
    row += 4;
  }
  if (kRows > 2 && row + 2 <= end) {
    multiply<kKind, 2, kTiles>(call, group, row);
    row += 2;
  }
  if (row < end) multiply<kKind, 1, kTiles>(call, group, row);
}

// Activations are taken by as many rows as stay in the second-level cache while the task's tiles
// pass over them; tiles two at a time, to use each activation twice, unless there is but one row.
template <WeightKind kKind>
void matmul(const MatmulCall& call, uint32_t first_tile, uint32_t count) {
  constexpr PackedLayout kLayout = kPackedLayouts[static_cast<size_t>(kKind)];
  constexpr uint32_t kCacheSize = 384 << 10, kStep = 16;
  const size_t tile_size = kLayout.tile_size(call.inputs, kLanes);
  const uint32_t x_size = takes_floats(kKind) ? 4 : 1;
  const uint32_t fitting = kCacheSize / (call.inputs * x_size) / kStep * kStep;
  const uint32_t block_rows = fitting < kStep ? kStep : fitting;
  for (uint32_t begin = 0; begin < call.rows; begin += block_rows) {
    const uint32_t end = begin + block_rows < call.rows ? begin + block_rows : call.rows;
    for (uint32_t tile = first_tile; tile < first_tile + count;) {
      const TileGroup group = {static_cast<const uint8_t*>(call.weights) + tile * tile_size,
                               tile_size, call.out + size_t{tile} * kLanes,
                               call.outputs - tile * kLanes};
      if (kPairsTiles && call.rows > 1 && tile + 2 <= first_tile + count) {
        multiply_group<kKind, 2>(call, group, begin, end);
        tile += 2;
      } else {
        multiply_group<kKind, 1>(call, group, begin, end);
        ++tile;
      }
    }
  }
}
