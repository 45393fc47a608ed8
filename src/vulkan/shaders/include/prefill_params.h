// Push constants and specialisation constants of the prefill shaders, as params.h has those of the
// others.
// SPDX-License-Identifier: Apache-2.0
#ifndef TANDEM_PREFILL_PARAMS_H
#define TANDEM_PREFILL_PARAMS_H

#include "params.h"

#ifdef __cplusplus
namespace tandem::vulkan {
#define TANDEM_CONSTANT constexpr uint32_t
#else
#define TANDEM_CONSTANT const uint
#endif

// prepare_rows.comp: what a row is made of, and what it becomes.
TANDEM_CONSTANT kSourceNorm = 0;     // x / rms(x) * w
TANDEM_CONSTANT kSourceCopy = 1;     // x
TANDEM_CONSTANT kSourceGeglu = 2;    // gelu_tanh(x[0, n)) * x[n, 2n)
TANDEM_CONSTANT kSourceAddNorm = 3;  // sum / rms(sum) * w, sum = x + add / rms(add) * add_norm
TANDEM_CONSTANT kTargetF16 = 0;      // y * scale = row, f16, scale a power of two per row
TANDEM_CONSTANT kTargetQ8 = 1;       // int8 y, per 32 elements a scale and the scaled sum

struct PrepareRowsParams {
  uint64_t batch;
  uint64_t x;                   // f32 [rows, x_stride]
  uint64_t weight;              // f32 [width]; of norms
  uint64_t add, add_norm, sum;  // kSourceAddNorm; rows lie as those of x
  uint64_t y;                   // [rows, width]
  uint64_t scale;               // kTargetF16: f32 [rows]; kTargetQ8: vec2 [rows, width / 32]
  uint width, x_stride;
  float epsilon, inverse_width;
};

// matmul.comp, matmul_coop.comp, matmul_dot.comp: y[rows, sum of n] = x[rows, k] * w[n, k], for up
// to three matrices of one format whose outputs lie side by side.
struct MatmulParams {
  uint64_t batch;
  uint64_t x;  // as prepare_rows.comp writes it, [rows, k]
  uint64_t scale;
  uint64_t y;  // f32 [rows, y_stride]; with split K f32 [splits, max_rows, y_stride]
  uint64_t w[3];
  uint n_end[3];  // column of y where each matrix ends; equal ends for those not used
  uint k;
  uint row_size;  // bytes of a row of w
  uint y_stride;
  uint k_split;     // k of one split: a multiple of the k tile
  uint split_size;  // elements of y between splits
};

// matmul_reduce.comp: y[rows, n] = sum over splits of partial.
struct MatmulReduceParams {
  uint64_t batch;
  uint64_t partial;
  uint64_t y;
  uint n, partial_stride, y_stride;
  uint splits, split_size;
  uint reserved;
};

// attention.comp: q is normed and rotated first, in kModeAttend, or is ready, in kModeReady.
struct AttentionParams {
  uint64_t batch;
  uint64_t qkv;     // f32 [rows, qkv_stride]: heads of q, then of k, then of v
  uint64_t target;  // f32 [rows, target_stride]
  uint64_t k, v, k_scale, v_scale;
  uint64_t q_norm;
  uint64_t facts;  // AttentionFacts
  uint qkv_stride, target_stride;
  uint capacity, cache_stride, scale_stride;  // of a position's row
  uint reserved;
};

// Specialisation constants; kSpecWorkgroup, kSpecHeadSize and kSpecKv of params.h hold here too.
TANDEM_CONSTANT kSpecSource = 1;  // prepare_rows
TANDEM_CONSTANT kSpecTarget = 2;
TANDEM_CONSTANT kSpecTileM = 1;  // matmul*: of a workgroup
TANDEM_CONSTANT kSpecTileN = 2;
TANDEM_CONSTANT kSpecTileK = 3;
TANDEM_CONSTANT kSpecPartM = 4;  // matmul*: of a subgroup (coop) or an invocation (others)
TANDEM_CONSTANT kSpecPartN = 5;
TANDEM_CONSTANT kSpecMatrixM = 6;  // matmul_coop: of one matrix operation
TANDEM_CONSTANT kSpecMatrixN = 7;
TANDEM_CONSTANT kSpecMatrixK = 8;
TANDEM_CONSTANT kSpecGroup = 3;  // attention: query heads of a KV head

#undef TANDEM_CONSTANT
#ifdef __cplusplus
}  // namespace tandem::vulkan
#endif
#endif
