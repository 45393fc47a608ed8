// Push constants and specialisation constants of the shaders, read by C++ and GLSL. Structs are
// laid out as C++ does (scalar layout), at most 128 bytes. Those of prefill are in
// prefill_params.h. Addresses are device addresses; strides and widths count elements.
// SPDX-License-Identifier: Apache-2.0
#ifndef TANDEM_PARAMS_H
#define TANDEM_PARAMS_H

#ifdef __cplusplus
#include <cstdint>
namespace tandem::vulkan {
using uint = uint32_t;
#define TANDEM_CONSTANT constexpr uint32_t
#else
#define TANDEM_CONSTANT const uint
#endif

TANDEM_CONSTANT kSpecWorkgroup = 0;  // every shader: invocations of a workgroup
TANDEM_CONSTANT kSpecChained = 15;   // 1: the dispatch waits for the one before by itself

// How a dispatch recorded without a barrier orders itself after the one before: it waits until all
// workgroups of that one have counted themselves. Counters are kCounterStride words apart; word 0
// is the failure flag, set by a wait that ran out.
struct Chain {
  uint64_t counters;
  uint step;        // counts at word (step + 1) * kCounterStride
  uint wait_count;  // workgroups of the step before; 0: no wait
};
TANDEM_CONSTANT kCounterStride = 32;
TANDEM_CONSTANT kSpinLimit = 1u << 21;     // a second or two
TANDEM_CONSTANT kSpinsPerLook = 1u << 10;  // between looks at the failure flag

// chain_check.comp
struct ChainCheckParams {
  uint64_t source, target;  // a word per workgroup
  Chain chain;
};

// fill.comp
struct FillParams {
  uint64_t target;  // words
  uint count, value;
};

// begin.comp: the host's batch becomes the device's, counters become zero.
struct BeginParams {
  uint64_t source, target;  // batch buffers
  uint64_t counters;
  uint batch_words, counter_words;
};

// advance.comp: the id chosen for each output becomes the next token of its row.
struct AdvanceParams {
  uint64_t batch;
  uint64_t ids;
  uint64_t counters;
  uint round_stride, output_stride;  // of ids
  uint counter_words;
};

// embed.comp: x[row] = table[token - first_token] * scale, for tokens that the table has
struct EmbedParams {
  uint64_t batch;
  uint64_t x;
  uint64_t table;
  uint row_size;  // bytes
  uint width, x_stride, first_token, table_rows;
  float scale;
};

// rms_norm.comp: target[row] = the normed x[row], see kNorm..., then zeros up to target_width.
struct RmsNormParams {
  uint64_t batch;
  uint64_t x, weight, base, target;
  uint width, target_width;
  uint x_stride, base_stride, target_stride;
  float epsilon, inverse_width;
  uint reserved;  // C++ sizes are multiples of 8
};
TANDEM_CONSTANT kSpecNormMode = 1;
TANDEM_CONSTANT kNormPlain = 0;      // x / rms(x) * w
TANDEM_CONSTANT kNormAdd = 1;        // base + x / rms(x) * w
TANDEM_CONSTANT kNormCopy = 2;       // x
TANDEM_CONSTANT kSpecOnOutputs = 2;  // 1: as many rows as the step has outputs
TANDEM_CONSTANT kWidestNorm = 1u << 16;

// gather.comp: target[i] = x[output_row[i]]
struct GatherParams {
  uint64_t batch;
  uint64_t x, target;
  uint width, x_stride, target_stride;
};

// geglu.comp: h = gelu_tanh(gu[0, n)) * gu[n, 2n)
struct GegluParams {
  uint64_t batch;
  uint64_t gu, h;
  uint width, gu_stride, h_stride;
};

// prepare.comp: target[row] = x[row] as matvec.comp reads it, made of x by the same prologue.
struct PrepareParams {
  uint64_t batch;
  uint64_t x, add, add_norm, norm, x_target;  // as in MatvecParams
  uint64_t target;                            // [rows, target_stride]
  uint x_stride, target_stride;
  float epsilon, inverse_width;
  Chain chain;
};
TANDEM_CONSTANT kSpecAsFloats = 3;  // 1: target is f32, not int8

// matvec.comp: out[row] = w * prologue(x[row]), for up to three matrices of one format whose
// outputs lie side by side, or for gate and up whose outputs become gelu_tanh(gate) * up.
struct MatvecParams {
  uint64_t batch;
  uint64_t x;    // [rows, x_stride]
  uint64_t add;  // kPrologueAdd...: x + add / rms(add) * add_norm replaces x
  uint64_t add_norm;
  uint64_t norm;
  uint64_t x_target;  // kPrologueAdd...: receives the replaced x, [rows, x_stride]
  uint64_t target;    // [rows, target_stride]
  uint64_t w[3];
  uint n_end[3];  // output where each matrix ends; equal ends for those not used
  uint row_size;  // bytes
  uint x_stride, target_stride;
  float epsilon, inverse_width;  // 1 / width
  Chain chain;
};
TANDEM_CONSTANT kSpecGroups = 1;  // K / 32
TANDEM_CONSTANT kSpecPrologue = 2;
TANDEM_CONSTANT kSpecPairs = 3;     // 1: gate and up
TANDEM_CONSTANT kSpecLanes = 4;     // invocations that share a row: a power of two
TANDEM_CONSTANT kSpecUnroll = 5;    // groups an invocation loads at a time
TANDEM_CONSTANT kSpecSplits = 6;    // parts of K summed by different subgroups
TANDEM_CONSTANT kSpecQuads = 7;     // 2 ceil(K / 8 / workgroup)
TANDEM_CONSTANT kSpecPartials = 8;  // floats of shared memory for splits
TANDEM_CONSTANT kSpecRowKind = 9;
TANDEM_CONSTANT kSpecRun = 10;         // outputs of a workgroup; one more ..
TANDEM_CONSTANT kSpecLongerRuns = 11;  // .. in so many workgroups, the first
TANDEM_CONSTANT kSpecTogether = 12;    // rows of x that a workgroup multiplies
TANDEM_CONSTANT kSpecColumns = 13;     // outputs of an invocation at a time: a power of two
TANDEM_CONSTANT kSpecStaged = 14;      // 1: x is in shared memory
TANDEM_CONSTANT kRowsAll = 0;
TANDEM_CONSTANT kRowsGathered = 1;  // row i works on row output_row[i] of x, for each output
TANDEM_CONSTANT kRowsOutputs = 2;   // row i works on row i of x, for each output
TANDEM_CONSTANT kPrologueCopy = 0;
TANDEM_CONSTANT kPrologueNorm = 1;
TANDEM_CONSTANT kPrologueAddNorm = 2;    // the bits of a sum and then kPrologueNorm
TANDEM_CONSTANT kPrologueAddInNorm = 3;  // faster, other bits
TANDEM_CONSTANT kPrologueReady = 4;      // x is as prepare.comp left it
// Of a row that prepare.comp left as int8: for each group of 32 its elements 0-15, then for each
// its elements 16-31, then for each two floats: the scale, and the scale times the sum of the int8.
TANDEM_CONSTANT kPreparedGroupBytes = 40;

// attention_decode.comp: QK-norm, RoPE, KV write and attention, split over the KV length.
struct AttentionDecodeParams {
  uint64_t batch;
  uint64_t qkv;     // [rows, qkv_stride]
  uint64_t target;  // [rows, heads * head_dim]
  uint64_t k, v, k_scale, v_scale;
  uint64_t q_norm, k_norm;
  uint64_t facts;    // AttentionFacts
  uint64_t scratch;  // partial results, then arrival counters
  uint qkv_stride, target_stride;
  uint capacity, cache_stride, scale_stride;  // of a position's row
  Chain chain;
};
// What of a layer does not fit the push constants.
struct AttentionFacts {
  uint heads, kv_heads;
  uint window;  // 0: all
  float scale, epsilon;
  uint reserved;
  uint64_t turns[128];  // of pair i: the angle a position adds, in turns times 2^64
};
TANDEM_CONSTANT kSpecHeadSize = 1;
TANDEM_CONSTANT kSpecKv = 2;
TANDEM_CONSTANT kSpecHeadsTogether = 3;  // query heads of one KV head done by one workgroup
TANDEM_CONSTANT kSpecMode = 4;
TANDEM_CONSTANT kSpecPositionLanes = 5;  // invocations that share a position
TANDEM_CONSTANT kSpecSubgroups = 6;      // of a workgroup
TANDEM_CONSTANT kSpecLeastTiles = 7;     // of a part of the KV length, at least
TANDEM_CONSTANT kSpecAhead = 8;          // positions that invocations load at a time
TANDEM_CONSTANT kCacheF16 = 0;
TANDEM_CONSTANT kCacheQ8 = 1;
TANDEM_CONSTANT kCacheF32 = 2;
TANDEM_CONSTANT kModeFused = 0;   // write this row's k and v, then attend
TANDEM_CONSTANT kModeWrite = 1;   // only write
TANDEM_CONSTANT kModeAttend = 2;  // only attend
TANDEM_CONSTANT kModeRotate = 3;  // write, and replace q and k of qkv by their rotated norms
TANDEM_CONSTANT kModeReady = 4;   // attend with q as qkv has it
TANDEM_CONSTANT kMostParts = 64;  // of a KV length

// top_k.comp: the k largest values of each row, the lower id first on a tie.
struct TopKParams {
  uint64_t batch;
  uint64_t values;  // [outputs, n]
  uint64_t ids;
  uint64_t largest;  // 0: not wanted
  uint64_t scratch;  // candidates of each workgroup, then arrival counters
  uint n, stride;
  uint round_stride, output_stride;  // of ids
  uint largest_stride;
};

TANDEM_CONSTANT kSpecCount = 1;  // k

// read.comp: sums words, to measure how fast memory can be read.
struct ReadParams {
  uint64_t source;
  uint64_t target;
  uint quads;  // of 16 bytes
};

#undef TANDEM_CONSTANT
#ifdef __cplusplus
}  // namespace tandem::vulkan
#endif
#endif
