// Which element type each tensor of a quantised model gets: the same as llama-quantize gives.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "tensor/dtype.h"

namespace tandem {

// The type of the matrix `name` with rows of `cols` elements in a model of `layer_count` layers
// whose type is called `target`. The embedding and the head get 6 bits where the layers have fewer;
// q4_k and q5_k are the mixtures Q4_K_M and Q5_K_M, with 6 bits for part of attn_v and ffn_down.
// Rows that are no whole blocks fall back to a type that fits.
DType choose_type(DType target, std::string_view name, uint32_t layer_count, uint64_t cols);

// The type without that fallback.
DType preferred_type(DType target, std::string_view name, uint32_t layer_count);

// The value of general.file_type (llama.cpp's llama_ftype) for such a model.
uint32_t file_type_number(DType target);

// True for a matrix that quantisation converts: a two-dimensional weight of the language model,
// not a norm and not of the vision tower.
bool is_quantizable(std::string_view name, uint64_t rows, uint64_t planes);

}  // namespace tandem
