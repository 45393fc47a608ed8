// The kernels in AVX2 with FMA and F16C: 8 lanes.
// SPDX-License-Identifier: Apache-2.0
#include "cpu/kernel_unit.h"

TANDEM_TARGET_BEGIN("avx2,fma,f16c")

namespace tandem::cpu::avx2 {
namespace {

// In this order: each uses those before it.
#include "cpu/simd_avx2.h"

#include "cpu/rows-inl.h"

#include "cpu/attention-inl.h"
#include "cpu/dequant-inl.h"

#include "cpu/matmul-inl.h"

#include "cpu/table-inl.h"

}  // namespace
}  // namespace tandem::cpu::avx2

TANDEM_TARGET_END

namespace tandem::cpu {

const Kernels& avx2_kernels() { return avx2::kTable; }

}  // namespace tandem::cpu
