// What the vector kernel units share: macros, constants. Includes nothing with inline code.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <immintrin.h>

#include "cpu/kernels.h"
#include "cpu/packed_layout.h"

#define TANDEM_INLINE inline __attribute__((always_inline))

// Registers can only hold arrays whose loops are unrolled, which -O2 leaves undone by itself; and
// code between BEGIN and END may use an instruction set that the rest of the program does not.
#if defined(__clang__)
#define TANDEM_UNROLL _Pragma("clang loop unroll(full)")
#define TANDEM_TARGET_PRAGMA(text) _Pragma(#text)
#define TANDEM_TARGET_BEGIN(isa) \
  TANDEM_TARGET_PRAGMA(clang attribute push(__attribute__((target(isa))), apply_to = function))
#define TANDEM_TARGET_END _Pragma("clang attribute pop")
#else
#define TANDEM_UNROLL _Pragma("GCC unroll 8")
#define TANDEM_TARGET_PRAGMA(text) _Pragma(#text)
#define TANDEM_TARGET_BEGIN(isa) _Pragma("GCC push_options") TANDEM_TARGET_PRAGMA(GCC target(isa))
#define TANDEM_TARGET_END _Pragma("GCC pop_options")
#endif

namespace tandem::cpu {

inline constexpr float kMinusInfinity = -__builtin_inff();

// e^r = 1 + r + r^2 * (c0 + c1 r + .. + c4 r^4) on |r| <= ln(2) / 2: least maximum relative error,
// 3.1e-9 before rounding.
inline constexpr float kExpCoefficients[5] = {0.49999994f, 0.166665211f, 0.041668389f,
                                              0.00836874545f, 0.00138145394f};

}  // namespace tandem::cpu
