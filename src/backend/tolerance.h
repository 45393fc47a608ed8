// How far a device may be from the exact result: one row per op, with where the number comes from.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "backend/op.h"

namespace tandem {

// How a device rounds the activations of a matmul with block weights.
enum class Rounding : uint8_t {
  kInt8,        // to int8 per 32, as cpu/kernels.h defines it: the reference rounds alike
  kAtMostInt8,  // no more coarsely than that: the reference does not round
  kF16          // x and any weights to f16, as matrix units read them; attention's q, k, v alike
};

// |got - want| <= relative * magnitude + tiny for each element, where the magnitude is what
// rounding errors grow with, such as the sum of |x| |w| of a dot product; and over all of them
// rms(got - want) <= normalised * rms(magnitude), which a bias within the first bound breaks.
struct Bound {
  double relative, tiny, normalised;
};

inline constexpr double kUlp = 0x1p-24;  // half the distance of floats near 1: one rounding
// One rounding to int8, relative to the largest of 32 values: half a step of largest / 127.
inline constexpr double kInt8Rounding = 1.0 / 254;
inline constexpr double kF16Rounding = 0x1p-11;  // one rounding to f16, relative to the value

// Rounding errors of a sum in float: one per addition of the longest chain, two for the product
// and the last rounding. Chains on devices: block weights add one exact integer per 32 inputs, or
// split rows over lanes; float weights are split at least in two. Errors of one sign are unlikely:
// their root mean square grows with the root of the chain, allowed fourfold.
inline Bound sum_bound(double chain) {
  const double rms = chain < 16 ? chain : 4 * __builtin_sqrt(chain);
  return {(chain + 4) * kUlp, 1e-30, (rms + 4) * kUlp};
}

// Rounding to int8 errs by half a step at most, a step being largest / 127. The magnitude of such a
// product uses each block's largest value. The rounding is uniform, so its root mean square is
// 1 / sqrt(3) of the most, and over many inputs of either sign far less; half of the most is
// allowed.
inline Bound matmul_bound(bool blocks, Rounding rounding, uint32_t inputs) {
  Bound bound = sum_bound(blocks ? inputs / 32.0 * 2 : inputs / 2.0);
  if (blocks && rounding == Rounding::kAtMostInt8) {
    bound.relative += kInt8Rounding;
    bound.normalised += kInt8Rounding / 2;
  }
  // x and w are rounded once each; a weight with an offset (Q4_K) thrice, relative to up to twice
  // its own size.
  if (rounding == Rounding::kF16) {
    bound.relative += 4 * kF16Rounding;
    bound.normalised += 2 * kF16Rounding;
  }
  return bound;
}

// The sum of squares is of one sign and the root halves its error; then four roundings.
inline Bound rms_norm_bound(uint32_t count) {
  return {(count / 8.0 / 2 + 8) * kUlp, 1e-30, (2 * __builtin_sqrt(count / 8.0) + 8) * kUlp};
}

// Relative to |gate * up|: the argument's rounding grows e^u by u ulp, where gelu itself falls. The
// envelope is 2^-22.6 (AVX-512, AVX2); 2^-20 leaves room for devices with a coarser e^x.
inline constexpr Bound kGegluBound = {0x1p-20, 1e-30, 0x1p-21};

// The angle p * frequency is a float, its frequency too: p * f * 2 ulp, at most p * 2 ulp. Cosine
// and sine add one ulp each, the products and the norm of the head ahead about 24.
inline Bound rope_bound(uint32_t head_dim, uint32_t position) {
  const Bound norm = rms_norm_bound(head_dim);
  const double angle = (2.0 * position + 6) * kUlp;
  return {norm.relative + angle, 1e-30, norm.normalised + angle};
}

// What a cache of the type adds, relative to the largest of 32 (i8) or the value (f16). For i8 the
// step is rounded to f16, which 127 levels multiply.
inline double cache_rounding(DType kv) {
  if (kv == DType::kF32) return 0;
  return kv == DType::kF16 ? kF16Rounding : kInt8Rounding + kF16Rounding;
}

// No tight bound exists: a score's error is multiplied by itself exponentiated. The envelope over
// the cases of cases.h is 5e-7 of the sum of weight * |value| (AVX-512, AVX2), allowed fourfold.
inline constexpr Bound kAttentionBound = {2e-6, 1e-30, 1e-6};
// With q, k and v rounded to f16: the envelope is 1.0e-3 (attention.comp on lavapipe).
inline constexpr Bound kAttentionF16Bound = {4e-3, 1e-30, 2e-3};
inline Bound attention_bound(Rounding rounding) {
  return rounding == Rounding::kF16 ? kAttentionF16Bound : kAttentionBound;
}

// Copies, and one multiplication by a constant.
inline constexpr Bound kExactBound = {0, 0, 0};
inline constexpr Bound kEmbedBound = {2 * kUlp, 0, 2 * kUlp};

}  // namespace tandem
