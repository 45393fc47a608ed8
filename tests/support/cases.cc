// SPDX-License-Identifier: Apache-2.0
#include "support/cases.h"

#include <fmt/format.h>

namespace tandem {
namespace {

constexpr DType kWeightTypes[] = {DType::kF32,  DType::kF16,  DType::kBF16, DType::kQ4_0,
                                  DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kQ8_0,
                                  DType::kQ4K,  DType::kQ5K,  DType::kQ6K};

Case matmul(DType type, uint32_t rows, uint32_t outputs, uint32_t inputs) {
  Case c;
  c.rows = rows;
  c.outputs = {outputs};
  c.types = {type};
  c.width = inputs;
  return c;
}

Case row_case(Op op, uint32_t rows, uint32_t width, std::vector<DType> types = {}) {
  Case c;
  c.op = op;
  c.rows = rows;
  c.width = width;
  c.types = std::move(types);
  return c;
}

struct Heads {
  uint32_t heads, kv_heads, head_dim;
};

Case attention(Op op, Heads heads, uint32_t window, DType kv, std::vector<RowRun> runs) {
  Case c;
  c.op = op;
  c.config.heads = heads.heads;
  c.config.kv_heads = heads.kv_heads;
  c.config.head_dim = heads.head_dim;
  c.config.window = window;
  c.config.rope_base = window == 0 ? 1e6f : 1e4f;
  c.config.rope_scale = window == 0 ? 0.125f : 1.0f;
  c.config.attention_scale = 1.0f / __builtin_sqrtf(static_cast<float>(heads.head_dim));
  c.config.norm_epsilon = 1e-6f;
  c.kv = kv;
  c.runs = std::move(runs);
  c.rows = 0;
  uint32_t last = 0;
  for (const RowRun& run : c.runs) {
    c.rows += run.count;
    last = std::max(last, run.first_position + run.count);
  }
  // A ring just long enough, or all positions.
  c.capacity = window == 0 ? last : std::min(last, window + c.rows);
  if (op == Op::kQkNormRope) c.types = {DType::kF32, DType::kF32};
  return c;
}

}  // namespace

std::string Case::name() const {
  std::string name(op_info(op).name);
  for (DType type : types) name += fmt::format("_{}", dtype_name(type));
  if (op == Op::kQkNormRope || op == Op::kAttention)
    name += fmt::format("_{}_h{}x{}x{}_w{}", dtype_name(kv), config.heads, config.kv_heads,
                        config.head_dim, config.window);
  for (const RowRun& run : runs)
    name += fmt::format("_s{}p{}r{}", run.sequence, run.first_position, run.count);
  if (runs.empty()) name += fmt::format("_m{}", rows);
  for (uint32_t n : outputs) name += fmt::format("_n{}", n);
  if (width != 0) name += fmt::format("_k{}", width);
  if (on_outputs) name += "_outputs";
  return name;
}

std::vector<Case> matmul_cases() {
  std::vector<Case> cases;
  for (DType type : kWeightTypes) {
    // Tiles of 8 and 16 outputs and one beside; every number of rows up to a register tile and on.
    for (uint32_t rows : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u, 9u, 17u, 37u})
      cases.push_back(matmul(type, rows, 19, 256));
    for (uint32_t outputs : {1u, 7u, 8u, 9u, 15u, 16u, 17u, 31u, 32u, 33u, 67u})
      cases.push_back(matmul(type, 3, outputs, 512));
    // Inputs of the project's models, each with few outputs. Blocks of 256 fit some of them only.
    for (uint32_t inputs : {32u, 96u, 224u, 640u, 1024u, 1152u, 2048u, 2560u, 3840u, 4096u, 5376u,
                            6912u, 10240u, 15360u, 21504u})
      if (inputs % dtype_info(type).block_count == 0) {
        cases.push_back(matmul(type, 1, 21, inputs));
        if (inputs <= 1152) cases.push_back(matmul(type, 33, 40, inputs));
      }
  }
  // Float rows need not be whole blocks.
  for (DType type : {DType::kF32, DType::kF16, DType::kBF16})
    for (uint32_t inputs : {1u, 3u, 31u, 33u}) cases.push_back(matmul(type, 2, 9, inputs));
  // More activations than a thread rounds for itself.
  for (DType type : {DType::kQ4_0, DType::kQ6K, DType::kF16})
    cases.push_back(matmul(type, 130, 48, 256));
  // q, k and v side by side in types of their own.
  Case qkv = matmul(DType::kQ4_0, 6, 64, 256);
  qkv.types = {DType::kQ4_0, DType::kQ6K, DType::kF16};
  qkv.outputs = {64, 33, 17};
  cases.push_back(qkv);
  qkv.types = {DType::kQ8_0, DType::kQ8_0};
  qkv.outputs = {100, 100};
  qkv.on_outputs = true;
  cases.push_back(qkv);
  return cases;
}

std::vector<Case> row_cases() {
  std::vector<Case> cases;
  const std::vector<DType> norm = {DType::kF32};
  for (uint32_t width : {1u, 7u, 31u, 96u, 97u, 640u, 1152u, 2560u, 5376u})
    for (Op op : {Op::kRmsNorm, Op::kRmsNormAdd})
      for (uint32_t rows : {1u, 5u}) cases.push_back(row_case(op, rows, width, norm));
  for (uint32_t width : {1u, 17u, 224u, 2048u, 2049u, 6912u, 21504u})
    for (uint32_t rows : {1u, 3u}) cases.push_back(row_case(Op::kGeglu, rows, width));
  for (DType type : kWeightTypes) cases.push_back(row_case(Op::kEmbed, 5, 256, {type}));
  cases.push_back(row_case(Op::kGather, 7, 97));
  cases.push_back(row_case(Op::kRmsNorm, 5, 96, norm));
  cases.back().on_outputs = true;
  for (uint32_t vocab : {1u, 15u, 1000u, 16384u, 16385u, 262144u}) {
    cases.push_back(row_case(Op::kArgmax, 3, vocab));
    for (uint32_t k : {1u, 40u, 64u})
      if (k <= vocab && (k == 40 || vocab <= 16384)) {
        cases.push_back(row_case(Op::kTopK, 2, vocab));
        cases.back().outputs = {k};
      }
  }
  return cases;
}

std::vector<Case> attention_cases() {
  std::vector<Case> cases;
  const std::vector<std::vector<RowRun>> batches = {
      {{0, 0, 1}},                            // the first token
      {{0, 0, 37}},                           // a prompt
      {{0, 70, 1}},                           // decoding
      {{0, 120, 9}},                          // a later chunk
      {{0, 5, 1}, {1, 90, 1}, {2, 33, 1}},    // decoding three sequences
      {{1, 10, 18}, {0, 64, 3}, {1, 28, 2}},  // a mix, one sequence twice
  };
  for (DType kv : {DType::kF32, DType::kF16, DType::kI8})
    for (const Heads heads : {Heads{2, 1, 32}, Heads{4, 2, 64}, Heads{4, 4, 128}, Heads{4, 1, 256}})
      for (uint32_t window : {0u, 1u, 33u})
        for (const auto& runs : batches) {
          if (window == 1 && heads.head_dim != 32) continue;
          cases.push_back(attention(Op::kAttention, heads, window, kv, runs));
          if (window != 1) cases.push_back(attention(Op::kQkNormRope, heads, window, kv, runs));
        }
  // A context long enough to be split, and beyond the trained 128 k for the angles.
  cases.push_back(attention(Op::kAttention, {8, 4, 64}, 0, DType::kF16, {{0, 1500, 1}}));
  cases.push_back(attention(Op::kAttention, {2, 1, 32}, 0, DType::kF16, {{0, 9000, 2}}));
  cases.push_back(attention(Op::kQkNormRope, {2, 1, 32}, 64, DType::kF16, {{0, 131071, 2}}));
  return cases;
}

std::vector<Case> all_cases() {
  std::vector<Case> cases = matmul_cases();
  for (Case& c : row_cases()) cases.push_back(std::move(c));
  for (Case& c : attention_cases()) cases.push_back(std::move(c));
  return cases;
}

std::vector<Case> few_cases() {
  std::vector<Case> cases = {matmul(DType::kQ4_0, 5, 33, 256),
                             matmul(DType::kF16, 1, 40, 96),
                             row_case(Op::kRmsNorm, 3, 97, {DType::kF32}),
                             row_case(Op::kRmsNormAdd, 3, 97, {DType::kF32}),
                             row_case(Op::kGeglu, 3, 97),
                             row_case(Op::kEmbed, 3, 256, {DType::kQ6K}),
                             row_case(Op::kGather, 5, 97)};
  for (DType kv : {DType::kF16, DType::kI8})
    for (Op op : {Op::kQkNormRope, Op::kAttention})
      cases.push_back(attention(op, {4, 2, 64}, 33, kv, {{0, 70, 5}}));
  cases.push_back(attention(Op::kAttention, {4, 2, 64}, 0, DType::kF16, {{0, 700, 1}}));
  return cases;
}

}  // namespace tandem
