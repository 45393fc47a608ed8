// The kernels in AVX-512 with VNNI: 16 lanes.
// SPDX-License-Identifier: Apache-2.0
#include "cpu/kernel_unit.h"

TANDEM_TARGET_BEGIN("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")

namespace tandem::cpu::avx512 {
namespace {

// In this order: each uses those before it.
#include "cpu/simd_avx512.h"

#include "cpu/rows-inl.h"

#include "cpu/attention-inl.h"
#include "cpu/dequant-inl.h"

#include "cpu/matmul-inl.h"

#include "cpu/table-inl.h"

}  // namespace
}  // namespace tandem::cpu::avx512

TANDEM_TARGET_END

namespace tandem::cpu {

const Kernels& avx512_kernels() { return avx512::kTable; }

}  // namespace tandem::cpu
