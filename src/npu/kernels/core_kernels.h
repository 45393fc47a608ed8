// The exported symbols of the core kernels, as the host calls them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

extern "C" {

void w4a8_load_activations(const int8_t* packed, int8_t* activations, int32_t slot, int32_t size);
void w4a8_clear(int32_t* sums, int32_t size);
void w4a8_flush_integer(const int32_t* sums, int32_t* results, int32_t size);
void w4a8_flush_exact(const int32_t* sums, int32_t* results, int32_t size);

using W4A8TileKernel = void(const int8_t* tile, const int8_t* activations, int32_t* sums,
                            int32_t step, int32_t shape);
W4A8TileKernel w4a8_integer_n8, w4a8_integer_n16, w4a8_exact_n8, w4a8_exact_n16;

void gemm_clear(void* c, int32_t size);
// Element types by name; see gemm_aie2.cc for the layouts.
using GemmKernel = void(const void* a, const void* b, void* c, int32_t m, int32_t k, int32_t n);
GemmKernel gemm_int8_int8_4x8x8, gemm_int8_int16_4x8x8, gemm_int8_int32_4x8x8, gemm_bf16_bf16_4x8x4,
    gemm_int8_int8_8x8x8, gemm_int8_int16_8x8x8, gemm_int8_int32_8x8x8, gemm_bf16_bf16_8x8x8;

}  // extern "C"
