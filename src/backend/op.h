// What can be asked of a device: the ops, their operands, and the facts of a layer they need.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "tensor/dtype.h"

namespace tandem {

// In a step of kDecode each row is of another sequence.
enum class Phase : uint8_t { kPrefill, kDecode };

// The nodes of a plan, in the order of a forward pass, then the primitives that blocks.h lowers
// them to. Shapes: R rows of a step, hidden E, q width H*D, kv width G*D, FFN width F, vocabulary
// V. Activations are f32. Operands are listed as arguments: written first, then read; x is updated
// in place where it says x +=.
//
//   node        arguments                          weights
//   kEmbed      x[R,E]                             token_embd[V,E]           x = w[token] * scale
//   kQkv        qkv[R,(H+2G)D]; x                  norm[E], q, k, v          rms_norm(x) * {q,k,v}
//   kAttnCore   out[R,HD], KV; qkv                 q_norm[D], k_norm[D]      see the two primitives
//   kAttnOut    x[R,E]; out[R,HD]                  o[E,HD], norm[E]          x += rms_norm(o out)
//   kFfn        x[R,E]                             norm, gate, up, down, post_norm
//   kHead       logits[O,V]; x                     norm[E], token_embd       for the O output rows
//
//   kRmsNorm    y[R,n]; x[R,n]                     w[n]                      y = x / rms(x) * w
//   kRmsNormAdd x[R,n]; y[R,n]                     w[n]                      x += y / rms(y) * w
//   kMatmul     y[R,N1+N2+..]; x[R,K]              w1[N1,K], w2[N2,K], ..    columns side by side
//   kQkNormRope qkv, KV                            q_norm[D], k_norm[D]      in place; writes KV
//   kAttention  out[R,HD], KV; qkv                 -                         causal, windowed
//   kGeglu      h[R,F]; gu[R,2F]                   -                         gelu_tanh(gate) * up
//   kGather     y[O,n]; x[R,n]                     -                         the output rows of x
//   kArgmax     ids[rounds,O] i32; logits[O,V]     -                         lowest id on a tie
//   kTopK       ids[O,k] i32, values[O,k]; logits  -                         descending
//
// KV stands for four arguments: k, v, k_scale, v_scale (see KvCache in model/kv_cache.h). They are
// [sequences * G, capacity, D] in f32, f16 or i8, the scales [.., D/32] in f16 for i8 and empty
// (dims 0) otherwise. A position p of a sequence lies in row p % capacity. kAttention reads what
// kQkNormRope of the same step wrote.
enum class Op : uint8_t {
  kEmbed,
  kQkv,
  kAttnCore,
  kAttnOut,
  kFfn,
  kHead,
  kRmsNorm,
  kRmsNormAdd,
  kMatmul,
  kQkNormRope,
  kAttention,
  kGeglu,
  kGather,
  kArgmax,
  kTopK,
};

struct OpInfo {
  Op op;
  std::string_view name;  // as in plans and reports: "qkv", "core", "rms_norm"
  uint8_t writes, reads;  // arguments
  bool in_place;          // also reads its first argument
};
const OpInfo& op_info(Op op);

// Everything a device must know of a layer. A fact of Gemma 3 is a field here, never a test on a
// model's name or size.
struct LayerConfig {
  uint32_t hidden = 0, ffn = 0;
  uint32_t heads = 0, kv_heads = 0, head_dim = 0;
  uint32_t vocab = 0;         // rows of the embedding
  uint32_t window = 0;        // a row attends to itself and the window-1 before; 0: to all
  float rope_base = 0;        // angle of pair i at position p: p * rope_scale * base^(-2i/D)
  float rope_scale = 1;       // 1 / the linear scaling factor
  float attention_scale = 0;  // multiplies q.k
  float norm_epsilon = 0;
  float embedding_scale = 0;  // sqrt(hidden), not rounded

  uint32_t q_width() const { return heads * head_dim; }
  uint32_t kv_width() const { return kv_heads * head_dim; }
  uint32_t qkv_width() const { return q_width() + 2 * kv_width(); }
};

// The types of an op's weights, in the order of the table above.
struct WeightTypes {
  std::array<DType, 6> types{};
  uint32_t count = 0;
};

struct OpSpec {
  Op op = Op::kEmbed;
  Phase phase = Phase::kDecode;
  uint16_t layer = 0;
  uint32_t max_rows = 1;     // R at most
  uint32_t max_outputs = 1;  // O at most
  uint32_t max_sequences = 1;
  bool on_outputs = false;  // the op works on the step's outputs (O), not on its rows (R)
  DType kv = DType::kF16;   // kF32, kF16 or kI8 (q8_0)
  WeightTypes weights;
  const LayerConfig* config = nullptr;  // outlives every kernel prepared from the spec
};

// The batch buffer: what a step works on, read by the device when it runs. A header record, then
// one record per row. Lives in shared memory; i32 [1, 1 + max_rows, 4].
struct BatchHeader {
  uint32_t rows, outputs;
  uint32_t round;  // counts the rounds of one submit; devices advance it
  uint32_t reserved;
};
struct BatchRow {
  uint32_t token, sequence, position;
  uint32_t output_row;  // of record i: the row whose logits are output i (i < outputs)
};
static_assert(sizeof(BatchHeader) == 16 && sizeof(BatchRow) == 16);

}  // namespace tandem
