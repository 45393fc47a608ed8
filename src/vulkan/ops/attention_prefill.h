// Attention of many rows: see attention.comp.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vulkan/program_builder.h"

namespace tandem::vulkan {

// Whether the step has enough rows, and the heads a size, for attention.comp.
bool use_attention_prefill(ProgramBuilder& builder, const Node& node);

// `decode` says where things lie; the cache must hold this step's k and v already. `mode` is
// kModeAttend or kModeReady.
void attend_many(ProgramBuilder& builder, const Node& node, uint32_t mode,
                 const AttentionDecodeParams& decode);

}  // namespace tandem::vulkan
