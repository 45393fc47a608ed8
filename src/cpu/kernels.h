// What an instruction set provides: one table of functions over plain data. Includes nothing with
// inline code, for these declarations are compiled into units that use wider instructions than the
// rest of the program.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace tandem::cpu {

// Types of matrix weights, in the order of Kernels::matmul.
enum class WeightKind : uint8_t {
  kF32,
  kF16,
  kBF16,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ4K,
  kQ5K,
  kQ6K,
};
inline constexpr size_t kWeightKindCount = 11;

// Float weights take the activations as they are; block weights take them as int8 in blocks of 32,
// value = scale * quant, scale = largest magnitude / 127.
inline constexpr uint32_t kBlock = 32;
constexpr bool takes_floats(WeightKind kind) { return kind <= WeightKind::kBF16; }

struct QuantizedRows {
  int8_t* quants;         // [rows, inputs]
  float* scales;          // [rows, inputs / 32]
  float* scaled_sums;     // [rows, inputs / 32]: scale * sum of the quants
  int32_t* minus_sums;    // [rows, inputs / 32]: minus the sum of 32 quants
  int32_t* minus_halves;  // [rows, inputs / 16]: minus the sum of 16 quants
};

// out[r, n] = sum over k of x[r, k] * w[n, k].
struct MatmulCall {
  WeightKind kind;
  const void* weights;  // as packed_weights.h lays them out for Kernels::tile
  uint32_t rows, inputs, outputs;
  const float* floats;  // x of float kinds, rows `floats_stride` floats apart
  size_t floats_stride;
  QuantizedRows quantized;  // x of block kinds
  float* out;               // rows `out_stride` floats apart
  size_t out_stride;
  float* scratch;  // `inputs` floats, for the calling thread alone
};

enum class KvKind : uint8_t { kF32, kF16, kI8 };

// One plane of a cache: the keys or the values of one head of one sequence.
struct KvPlane {
  const void* data;        // [capacity, head_dim]
  size_t stride;           // bytes from position to position
  const uint16_t* scales;  // kI8: f16 [capacity, head_dim / 32]
  size_t scale_stride;     // bytes
};

// The running state of a softmax-weighted sum, in floats: the largest score, the sum of
// e^(score - largest), then from kStateHeader on the sum of e^(score - largest) * value [head_dim].
inline constexpr uint32_t kStateHeader = 16;  // values start on a cache line
constexpr size_t attention_state_size(uint32_t head_dim) { return kStateHeader + head_dim; }

// Queries of `rows` consecutive positions of one sequence and of `heads` heads that share a key
// head, over the key positions [first_key, last_key) that causality and window leave to each.
struct AttentionCall {
  const float* queries;  // [rows, heads, head_dim], rows `query_stride` floats apart
  size_t query_stride;
  uint32_t rows, heads, head_dim;
  uint32_t first_position;       // of row 0
  uint32_t first_key, last_key;  // key positions; position p lies in row p % capacity
  uint32_t capacity, window;     // window 0: all
  float scale;                   // multiplies q.k
  KvKind kind;
  KvPlane keys, values;
  float* states;   // [rows, heads], overwritten; the largest score is -inf where no key is left
  float* scratch;  // attention_scratch floats, aligned to 64 bytes, for the calling thread alone
};
inline constexpr uint32_t kAttentionRows = 16;  // most rows of one call

struct Kernels {
  const char* name;
  uint32_t tile;  // weight rows packed together; 1: rows as they are in the file
  void (*matmul[kWeightKindCount])(const MatmulCall& call, uint32_t first_tile, uint32_t count);
  // count is a multiple of 32; `at` points at one row.
  void (*quantize)(const QuantizedRows& at, const float* x, uint32_t count);
  void (*rms_norm)(float* y, const float* x, const float* weight, uint32_t count, float epsilon);
  // x += y / rms(y) * weight
  void (*rms_norm_add)(float* x, const float* y, const float* weight, uint32_t count,
                       float epsilon);
  // Turns the pairs (x[i], x[i + half]) by the angles given by cosine and sine [half].
  void (*rotate)(float* x, const float* cosine, const float* sine, uint32_t half);
  void (*store_f16)(uint16_t* out, const float* x, uint32_t count);
  // As q8_0: scale = f16(largest magnitude / 127) per 32; count is a multiple of 32.
  void (*store_i8)(int8_t* out, uint16_t* scales, const float* x, uint32_t count);
  void (*geglu)(float* out, const float* gate, const float* up, uint32_t count);
  void (*attend)(const AttentionCall& call);
  size_t (*attention_scratch)(uint32_t heads, uint32_t head_dim);  // floats
  // The weighted mean of `count` states that lie `stride` floats apart.
  void (*combine)(float* out, const float* states, size_t stride, uint32_t count,
                  uint32_t head_dim);
  uint32_t (*argmax)(const float* x, uint32_t count);  // lowest index on a tie
};

const Kernels& scalar_kernels();
const Kernels& avx2_kernels();
const Kernels& avx512_kernels();

}  // namespace tandem::cpu
