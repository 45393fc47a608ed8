// The shapes that every backend is tried at: Gemma 3's own, one, primes, tiles and one beside.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backend/op.h"

namespace tandem {

// Rows of a batch as runs of consecutive positions.
struct RowRun {
  uint32_t sequence, first_position, count;
};

struct Case {
  Op op = Op::kMatmul;
  uint32_t rows = 1;
  uint32_t width = 0;             // inputs of a matmul, else the row's width
  std::vector<uint32_t> outputs;  // kMatmul: of each matrix; kTopK: k
  std::vector<DType> types;       // of the weights
  LayerConfig config;             // kQkNormRope, kAttention
  DType kv = DType::kF16;
  uint32_t capacity = 0;
  std::vector<RowRun> runs;  // instead of `rows`, where positions matter
  bool on_outputs = false;

  std::string name() const;  // "matmul_q4_0_m1_n2560_k10240": letters, digits and _
};

std::vector<Case> matmul_cases();
std::vector<Case> row_cases();
std::vector<Case> attention_cases();

// All of these.
std::vector<Case> all_cases();
// One or two of each op, for tests of the tests.
std::vector<Case> few_cases();

}  // namespace tandem
