// The nodes as dispatches: one function per node, one file per subject.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vulkan/program_builder.h"

namespace tandem::vulkan {

void record_embed(ProgramBuilder& builder, const Node& node);
void record_qkv(ProgramBuilder& builder, const Node& node);
void record_attention_core(ProgramBuilder& builder, const Node& node);
void record_attention_out(ProgramBuilder& builder, const Node& node);
void record_ffn(ProgramBuilder& builder, const Node& node);
void record_head(ProgramBuilder& builder, const Node& node);
void record_gather(ProgramBuilder& builder, const Node& node);
void record_top_k(ProgramBuilder& builder, const Node& node);  // and argmax

// Primitives, for plans that take a node apart.
void record_matmul(ProgramBuilder& builder, const Node& node);
void record_rms_norm(ProgramBuilder& builder, const Node& node);  // and its adding form
void record_geglu(ProgramBuilder& builder, const Node& node);
void record_qk_norm_rope(ProgramBuilder& builder, const Node& node);
void record_attention(ProgramBuilder& builder, const Node& node);

// How shaders name the type of the KV cache: kCache...
uint32_t cache_kind(DType dtype);

// Between two rounds: ids to tokens (see advance.comp). `ids` as record_top_k() took them.
void record_advance(ProgramBuilder& builder, const Node& top_k, uint32_t counter_words);

}  // namespace tandem::vulkan
