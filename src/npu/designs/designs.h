// Designs for the array: each writes AIE-dialect text for given shapes, the artefact that both the
// MLIR-AIE tools and the emulator take. The text opens with its budget: what it uses of each tile.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "backend/op.h"
#include "npu/geometry.h"
#include "npu/int4_layout.h"
#include "npu/projection_layout.h"

namespace tandem::npu {

enum class DesignOp : uint8_t { kQkv, kOut, kGemm };

// Element types of a GEMM: A and B, and C.
enum class GemmType : uint8_t { kInt8, kInt16, kInt32, kBf16 };

struct GemmTile {
  uint32_t m = 0, k = 0, n = 0;
};

struct DesignRequest {
  Generation generation = Generation::kNpu1;
  DesignOp op = DesignOp::kQkv;
  Phase phase = Phase::kDecode;  // projections
  uint32_t rows = 1;             // M
  uint32_t inputs = 0;           // K
  uint32_t outputs = 0;          // N; for qkv the widths of q, k and v together
  ScaleMode scales = ScaleMode::kInteger;
  uint32_t columns = 0;  // of the array; 0: all
  // kGemm only: the core tile, C = A[M, K] * B[K, N], all row-major in host memory. Sizes that the
  // tiles do not divide are rounded up, and the buffers with them.
  GemmTile tile;
  GemmType in = GemmType::kInt8;
  GemmType out = GemmType::kInt32;
  uint32_t contiguous_k =
      0;  // elements of K a mem tile reads in a run; 0: four tiles, or what fits
};

// A host buffer, in the order of the runtime sequence's arguments.
struct DesignBuffer {
  std::string name;      // "weights", "activations", "results"; GEMM: "a", "b", "c"
  size_t size = 0;       // bytes
  bool written = false;  // by the array
};

// What a design uses of the fullest tile of each kind, against what there is; a use over the limit
// never leaves emit_design.
struct BudgetLine {
  std::string tile;      // "core", "mem", "shim"
  std::string resource;  // "memory", "program channels in", ...
  uint64_t used = 0, limit = 0;
};

struct EmittedDesign {
  std::string text;
  std::string sequence;  // name of the runtime sequence
  std::vector<DesignBuffer> buffers;
  std::vector<BudgetLine> budget;
};

// Throws kUnsupported with the resource that does not fit, kUsage for shapes that make no sense.
EmittedDesign emit_design(const DesignRequest& request);

// The layout of a projection's buffers (kQkv, kOut).
ProjectionLayout projection_layout(const DesignRequest& request);

// Names in file names and on the command line: "qkv", "out", "gemm"; "int8", "bf16", ...
std::string_view to_text(DesignOp op);
std::string_view to_text(GemmType type);
const DesignOp* find_design_op(std::string_view name);
const GemmType* find_gemm_type(std::string_view name);

}  // namespace tandem::npu
