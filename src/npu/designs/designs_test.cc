// Designs of every model: they fit the array, the project's own parser takes them, and the budget
// they open with is what the lowered design uses.
// SPDX-License-Identifier: Apache-2.0
#include "npu/designs/designs.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "base/error.h"
#include "npu/aie_text/design.h"

namespace tandem::npu {
namespace {

using testing::HasSubstr;

struct Shape {
  const char* model;
  DesignOp op;
  uint32_t outputs, inputs;
};
constexpr Shape kShapes[] = {
    {"270m", DesignOp::kQkv, 1536, 640}, {"270m", DesignOp::kOut, 640, 1024},
    {"1b", DesignOp::kQkv, 1536, 1152},  {"1b", DesignOp::kOut, 1152, 1024},
    {"4b", DesignOp::kQkv, 4096, 2560},  {"4b", DesignOp::kOut, 2560, 2048},
    {"12b", DesignOp::kQkv, 8192, 3840}, {"12b", DesignOp::kOut, 3840, 4096},
    {"27b", DesignOp::kQkv, 8192, 5376}, {"27b", DesignOp::kOut, 5376, 4096},
    {"story", DesignOp::kQkv, 512, 256}, {"story", DesignOp::kOut, 256, 256},
    {"tiny", DesignOp::kQkv, 512, 96},   {"tiny", DesignOp::kOut, 128, 64}};

DesignRequest projection(Generation generation, const Shape& shape, Phase phase, uint32_t rows,
                         ScaleMode scales = ScaleMode::kInteger) {
  DesignRequest request;
  request.generation = generation;
  request.op = shape.op;
  request.phase = phase;
  request.rows = rows;
  request.inputs = shape.inputs;
  request.outputs = shape.outputs;
  request.scales = scales;
  return request;
}

DesignRequest gemm(uint32_t size, GemmTile tile, GemmType in, GemmType out) {
  DesignRequest request;
  request.op = DesignOp::kGemm;
  request.rows = request.inputs = request.outputs = size;
  request.tile = tile;
  request.in = in;
  request.out = out;
  return request;
}

// Uses of the fullest tile of each kind as the parsed and lowered text has them.
std::map<std::string, uint64_t> lowered_use(const DeviceDesign& device, const Geometry& geometry) {
  struct Use {
    uint64_t memory = 0, descriptors = 0, locks = 0;
  };
  std::map<TileCoordinate, Use> tiles;
  for (const BufferDecl& buffer : device.buffers) tiles[buffer.tile].memory += buffer.size;
  for (const BufferDescriptorSlot& slot : device.descriptors) ++tiles[slot.tile].descriptors;
  for (const LockDecl& lock : device.locks) ++tiles[lock.tile].locks;
  for (const CoreDecl& core : device.cores)
    tiles[core.tile].memory += static_cast<uint64_t>(core.stack_size);
  std::map<std::string, uint64_t> most;
  for (const auto& [tile, use] : tiles) {
    const TileKind kind = geometry.kind_of_row(static_cast<uint32_t>(tile.row));
    if (kind == TileKind::kShim) continue;  // its descriptors are the sequence's
    const std::string name = kind == TileKind::kMem ? "mem " : "core ";
    const auto raise = [&](const char* resource, uint64_t value) {
      uint64_t& at = most[name + resource];
      at = std::max(at, value);
    };
    raise("bytes of memory", use.memory);
    raise("descriptors", use.descriptors);
    raise("locks", use.locks);
  }
  return most;
}

void expect_consistent(const DesignRequest& request) {
  const EmittedDesign emitted = emit_design(request);
  for (const BudgetLine& line : emitted.budget)
    EXPECT_LE(line.used, line.limit) << line.tile << " " << line.resource;
  const Design design = parse_design(emitted.text);
  EXPECT_EQ(design.sequence_name, emitted.sequence);
  ASSERT_EQ(design.arguments.size(), emitted.buffers.size());
  for (size_t i = 0; i < emitted.buffers.size(); ++i) {
    EXPECT_EQ(design.arguments[i].size, emitted.buffers[i].size) << emitted.buffers[i].name;
    EXPECT_EQ(design.arguments[i].name, emitted.buffers[i].name);
  }
  EXPECT_THAT(design.warnings, testing::IsEmpty());
  const auto& device = design.devices[static_cast<size_t>(design.main_device)];
  const auto use = lowered_use(device, geometry_of(request.generation));
  for (const BudgetLine& line : emitted.budget) {
    const auto found = use.find(line.tile + " " + line.resource);
    if (found != use.end()) {
      EXPECT_EQ(line.used, found->second) << line.tile << " " << line.resource;
    }
  }
}

TEST(Designs, FitEveryModelAndSayWhatTheyUse) {
  for (const Generation generation : {Generation::kNpu1, Generation::kNpu2})
    for (const Shape& shape : kShapes)
      for (const auto& [phase, rows] :
           {std::pair{Phase::kDecode, 1u}, {Phase::kDecode, 4u}, {Phase::kPrefill, 256u}}) {
        SCOPED_TRACE(
            fmt::format("{} {} rows on {}", shape.model, rows, geometry_of(generation).name));
        expect_consistent(projection(generation, shape, phase, rows));
      }
}

TEST(Designs, ExactScalesFitToo) {
  for (const Generation generation : {Generation::kNpu1, Generation::kNpu2})
    for (const Shape& shape : kShapes) {
      SCOPED_TRACE(shape.model);
      expect_consistent(projection(generation, shape, Phase::kDecode, 4, ScaleMode::kExact));
      expect_consistent(projection(generation, shape, Phase::kPrefill, 256, ScaleMode::kExact));
    }
}

TEST(Designs, GemmTilesOfEveryTypeFit) {
  expect_consistent(gemm(900, {112, 112, 112}, GemmType::kInt8, GemmType::kInt8));
  expect_consistent(gemm(1000, {64, 216, 64}, GemmType::kInt8, GemmType::kInt16));
  expect_consistent(gemm(1024, {48, 280, 48}, GemmType::kInt8, GemmType::kInt32));
  DesignRequest bf16 = gemm(512, {64, 104, 64}, GemmType::kBf16, GemmType::kBf16);
  expect_consistent(bf16);
  bf16.generation = Generation::kNpu2;
  bf16.tile = {48, 152, 48};
  expect_consistent(bf16);
}

// All eight read channels of npu1 and all sixteen of npu2 stream weights in decode.
TEST(Designs, DecodeUsesEveryReadChannel) {
  for (const Generation generation : {Generation::kNpu1, Generation::kNpu2}) {
    const Design design =
        parse_design(emit_design(projection(generation, kShapes[4], Phase::kDecode, 1)).text);
    const auto& device = design.devices[static_cast<size_t>(design.main_device)];
    size_t channels = 0;
    for (const ShimAllocation& allocation : device.shim_allocations)
      channels += allocation.direction == DmaDirection::kMM2S;
    EXPECT_EQ(channels, 2u * geometry_of(generation).columns);
  }
}

std::string message_of(const DesignRequest& request) {
  try {
    emit_design(request);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Designs, RefuseWhatTheArrayCannotHold) {
  EXPECT_THAT(message_of(gemm(512, {96, 96, 96}, GemmType::kInt8, GemmType::kInt32)),
              HasSubstr("bytes of memory of a core tile"));
  EXPECT_THAT(message_of(gemm(512, {64, 60, 64}, GemmType::kInt8, GemmType::kInt8)),
              HasSubstr("4x8x8 blocks"));
  EXPECT_THAT(message_of(gemm(512, {64, 64, 64}, GemmType::kInt8, GemmType::kBf16)),
              HasSubstr("no GEMM from int8 to bf16"));
  DesignRequest runs = gemm(512, {64, 64, 64}, GemmType::kInt8, GemmType::kInt8);
  runs.contiguous_k = 100;
  EXPECT_THAT(message_of(runs), HasSubstr("not whole tiles of 64"));
  DesignRequest prefill = projection(Generation::kNpu1, kShapes[4], Phase::kPrefill, 256);
  prefill.columns = 2;
  EXPECT_THAT(message_of(prefill), HasSubstr("needs 4 columns"));
  prefill.columns = 5;
  EXPECT_THAT(message_of(prefill), HasSubstr("which has 4"));
  DesignRequest empty;
  EXPECT_THAT(message_of(empty), HasSubstr("needs its numbers"));
}

TEST(Designs, NamesAreFoundAgain) {
  for (const DesignOp op : {DesignOp::kQkv, DesignOp::kOut, DesignOp::kGemm})
    EXPECT_EQ(*find_design_op(to_text(op)), op);
  for (const GemmType type : {GemmType::kInt8, GemmType::kInt16, GemmType::kInt32, GemmType::kBf16})
    EXPECT_EQ(*find_gemm_type(to_text(type)), type);
  EXPECT_EQ(find_design_op("ffn"), nullptr);
  EXPECT_EQ(find_gemm_type("f32"), nullptr);
}

}  // namespace
}  // namespace tandem::npu
