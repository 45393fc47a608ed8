// SPDX-License-Identifier: Apache-2.0
#include "backend/op.h"

namespace tandem {
namespace {

// In the order of the enumeration.
constexpr std::array kInfos = {
    OpInfo{Op::kEmbed, "embed", 1, 0, false},
    OpInfo{Op::kQkv, "qkv", 1, 1, false},
    OpInfo{Op::kAttnCore, "core", 5, 1, false},
    OpInfo{Op::kAttnOut, "out", 1, 1, true},
    OpInfo{Op::kFfn, "ffn", 1, 0, true},
    OpInfo{Op::kHead, "head", 1, 1, false},
    OpInfo{Op::kRmsNorm, "rms_norm", 1, 1, false},
    OpInfo{Op::kRmsNormAdd, "rms_norm_add", 1, 1, true},
    OpInfo{Op::kMatmul, "matmul", 1, 1, false},
    OpInfo{Op::kQkNormRope, "qk_norm_rope", 5, 0, true},
    OpInfo{Op::kAttention, "attention", 5, 1, false},
    OpInfo{Op::kGeglu, "geglu", 1, 1, false},
    OpInfo{Op::kGather, "gather", 1, 1, false},
    OpInfo{Op::kArgmax, "argmax", 1, 1, false},
    OpInfo{Op::kTopK, "top_k", 2, 1, false},
};

}  // namespace

const OpInfo& op_info(Op op) { return kInfos[static_cast<size_t>(op)]; }

}  // namespace tandem
