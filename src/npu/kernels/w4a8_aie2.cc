// W4A8 projection kernels: int4 weights times int8 activations in groups of 32, for every layout of
// int4_layout.h and projection_layout.h.
//
//   sum[m, n] += (sum over the group of q_w[n, k] * q_x[m, k]) * (scale_w[n] * scale_x[m])
//
// A group is two native multiplies; its partial sums fit int16 (32 * 8 * 127 = 32512), so one
// int16 x int16 multiply per 16 lanes applies both scales into int64 without rounding.
// SPDX-License-Identifier: Apache-2.0
#include "npu/kernels/kernel_types.h"
#include "npu/kernels/w4a8_shape.h"

namespace {

constexpr unsigned kLanes = 16;
constexpr unsigned kOperand = 64;  // int8 of the A operand: 4 x 16

// The int32 partial sums of one group for 4 rows and kN outputs.
template <unsigned kN>
using Multiply = aie::mmul<4, 16, kN, int8, int4, acc32>;

template <unsigned kN>
inline Multiply<kN> multiply_group(const int8* activations, const int8* weights) {
  constexpr unsigned kWeightBytes = 16 * kN / 2;  // of the B operand
  const auto* first = reinterpret_cast<const int4*>(weights);
  const auto* second = reinterpret_cast<const int4*>(weights + kWeightBytes);
  Multiply<kN> product;
  product.mul(aie::load_v<kOperand>(activations), aie::load_v<16 * kN>(first));
  product.mac(aie::load_v<kOperand>(activations + kOperand), aie::load_v<16 * kN>(second));
  return product;
}

// The value of `rows[..]` for each of the 16 lanes of accumulator `index` of a 4 x kN tile: one row
// when kN is 16, two when it is 8.
template <unsigned kN, typename T>
inline aie::vector<T, kLanes> row_lanes(const T (&rows)[4], unsigned index) {
  if constexpr (kN == kLanes) {
    return aie::broadcast<T, kLanes>(rows[index]);
  } else {
    return aie::select(aie::broadcast<T, kLanes>(rows[2 * index]),
                       aie::broadcast<T, kLanes>(rows[2 * index + 1]),
                       aie::mask<kLanes>::from_uint32(0xFF00));
  }
}

// The integer scales of kN outputs, repeated over 16 lanes. `scales` is a whole array of a tile,
// loaded 16 aligned bytes at a time.
template <unsigned kN>
inline aie::vector<int16, kLanes> weight_lanes(const int8* scales, unsigned offset) {
  const unsigned aligned = offset & ~(kLanes - 1);
  const auto wide = aie::unpack(aie::load_v<kLanes>(scales + aligned));
  if constexpr (kN == kLanes)
    return wide;
  else
    return wide.template extract<kN>((offset - aligned) / kN).template grow_replicate<kLanes>();
}

template <unsigned kN>
inline aie::vector<float, kLanes> weight_lanes(const float* scales, unsigned offset) {
  return aie::load_v<kN>(scales + offset).template grow_replicate<kLanes>();
}

// The loop nest both scale modes share: every group of every 4 x kN tile, its accumulators held
// across the groups. `Scale` is int8 or float.
template <unsigned kN, typename Scale, typename Sum, typename Apply>
inline void walk_tile(const int8* tile, const int8* unit, Sum* sums, W4A8Shape shape, Apply apply) {
  constexpr unsigned kGroupBytes = 32 * kN / 2;
  const unsigned depth = shape.groups, width = shape.column_tiles * kN;
  const auto* weight_scales = reinterpret_cast<const Scale*>(tile + depth * width * 16);
  const auto* row_scales =
      reinterpret_cast<const Scale*>(unit + shape.row_groups * depth * 2 * kOperand);
  for (unsigned row = 0; row < shape.row_groups; ++row)
    for (unsigned column = 0; column < shape.column_tiles; ++column) {
      Sum held[4];
      Sum* home = sums + (row * shape.column_tiles + column) * shape.accumulators;
      for (unsigned i = 0; i < shape.accumulators; ++i) held[i] = home[i];
      for (unsigned group = 0; group < depth; ++group) {
        const unsigned operand = row * depth + group;
        const Multiply<kN> product = multiply_group<kN>(
            unit + operand * 2 * kOperand, tile + (column * depth + group) * kGroupBytes);
        Scale rows[4];
        for (unsigned i = 0; i < 4; ++i) rows[i] = row_scales[operand * 4 + i];
        apply(product, weight_lanes<kN>(weight_scales, group * width + column * kN), rows, held,
              shape.accumulators);
      }
      for (unsigned i = 0; i < shape.accumulators; ++i) home[i] = held[i];
    }
}

using IntegerSum = aie::accum<acc64, kLanes>;
using FloatSum = aie::accum<accfloat, kLanes>;

template <unsigned kN>
inline void integer_tile(const int8* tile, const int8* activations, IntegerSum* sums, int32_t step,
                         int32_t packed_shape) {
  const W4A8Shape shape = unpack_shape(packed_shape);
  const int8* unit = activations + static_cast<unsigned>(step) * activation_unit_size(shape, 1);
  walk_tile<kN, int8>(
      tile, unit, sums, shape,
      [](const Multiply<kN>& product, const aie::vector<int16, kLanes>& weights,
         const int8(&rows)[4], IntegerSum* held, unsigned count) {
        const auto partial = product.template to_vector<int16>();
        const int16 wide[4] = {rows[0], rows[1], rows[2], rows[3]};
        for (unsigned i = 0; i < count; ++i) {
          const auto scales =
              aie::mul<acc32>(weights, row_lanes<kN>(wide, i)).template to_vector<int16>();
          held[i] = aie::mac(held[i], partial.template extract<kLanes>(i), scales);
        }
      });
}

template <unsigned kN>
inline void exact_tile(const int8* tile, const int8* activations, FloatSum* sums, int32_t step,
                       int32_t packed_shape) {
  const W4A8Shape shape = unpack_shape(packed_shape);
  const int8* unit = activations + static_cast<unsigned>(step) * activation_unit_size(shape, 4);
  walk_tile<kN, float>(
      tile, unit, sums, shape,
      [](const Multiply<kN>& product, const aie::vector<float, kLanes>& weights,
         const float(&rows)[4], FloatSum* held, unsigned count) {
        const auto partial = product.template to_vector<int32>();
        for (unsigned i = 0; i < count; ++i) {
          const auto scales =
              aie::mul<accfloat>(weights, row_lanes<kN>(rows, i)).template to_vector<float>();
          held[i] = aie::mac(held[i], aie::to_float(partial.template extract<kLanes>(i)), scales);
        }
      });
}

}  // namespace

extern "C" {

// Keeps slot number `slot`, `size` bytes of units, for the steps to come. Multiples of 32 bytes.
void w4a8_load_activations(const int8* packed, int8* activations, int32_t slot, int32_t size) {
  int8* target = activations + slot * size;
  for (int32_t i = 0; i < size; i += 32) aie::store_v(target + i, aie::load_v<32>(packed + i));
}

// `size` bytes of sums to zero; multiples of 64.
void w4a8_clear(int32_t* sums, int32_t size) {
  for (int32_t i = 0; i < size / 4; i += static_cast<int32_t>(kLanes))
    aie::store_v(sums + i, aie::zeros<int32, kLanes>());
}

// Integer sums as 16 low words, then 16 high words. `size` is the bytes of either side.
void w4a8_flush_integer(const int32_t* sums, int32_t* results, int32_t size) {
  aie::set_saturation(aie::saturation_mode::none);
  aie::set_rounding(aie::rounding_mode::floor);
  const auto* source = reinterpret_cast<const IntegerSum*>(sums);
  const auto count = static_cast<unsigned>(size) / sizeof(IntegerSum);
  for (unsigned i = 0; i < count; ++i) {
    aie::store_v(results + i * 2 * kLanes, source[i].to_vector<int32>(0));
    aie::store_v(results + i * 2 * kLanes + kLanes, source[i].to_vector<int32>(32));
  }
}

void w4a8_flush_exact(const int32_t* sums, int32_t* results, int32_t size) {
  for (int32_t i = 0; i < size / 4; i += static_cast<int32_t>(kLanes))
    aie::store_v(results + i, aie::load_v<kLanes>(sums + i));
}

// Adds one tile to the sums of a row block: activations of unit `step`, the shape of w4a8_shape.h.
#if TANDEM_KERNELS_AIE2
void w4a8_integer_n8(const int8* tile, const int8* activations, int32_t* sums, int32_t step,
                     int32_t shape) {
  integer_tile<8>(tile, activations, reinterpret_cast<IntegerSum*>(sums), step, shape);
}
void w4a8_exact_n8(const int8* tile, const int8* activations, int32_t* sums, int32_t step,
                   int32_t shape) {
  exact_tile<8>(tile, activations, reinterpret_cast<FloatSum*>(sums), step, shape);
}
#endif
#if TANDEM_KERNELS_AIE2P
void w4a8_integer_n16(const int8* tile, const int8* activations, int32_t* sums, int32_t step,
                      int32_t shape) {
  integer_tile<16>(tile, activations, reinterpret_cast<IntegerSum*>(sums), step, shape);
}
void w4a8_exact_n16(const int8* tile, const int8* activations, int32_t* sums, int32_t step,
                    int32_t shape) {
  exact_tile<16>(tile, activations, reinterpret_cast<FloatSum*>(sums), step, shape);
}
#endif

}  // extern "C"
