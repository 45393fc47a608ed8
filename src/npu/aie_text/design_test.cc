// Tests of the AIE dialect's parser and of the lowering to a Design.
// SPDX-License-Identifier: Apache-2.0
#include "npu/aie_text/design.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/error.h"
#include "npu/aie_text/registers.h"

namespace tandem::npu {
namespace {

using testing::HasSubstr;

std::string device_text(const std::string& body) {
  return "module {\n  aie.device(npu1) {\n" + body + "\n  }\n}\n";
}

std::string parse_error(const std::string& text) {
  try {
    parse_design(text, {"t.mlir", "", ""});
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// Doubles 4 chunks of 16 words that travel shim, mem tile, core and back.
const char* const kDoubler = R"(
    %shim = aie.tile(0, 0)
    %mem = aie.tile(0, 1)
    %core = aie.tile(0, 2)
    aie.objectfifo @in(%shim, {%mem}, 2 : i32) : !aie.objectfifo<memref<32xi32>>
    aie.objectfifo @in_core(%mem, {%core}, 2 : i32) : !aie.objectfifo<memref<16xi32>>
    aie.objectfifo.link [@in] -> [@in_core] ([] [])
    aie.objectfifo @out(%core, {%shim}, 2 : i32) : !aie.objectfifo<memref<16xi32>>
    aie.core(%core) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %c16 = arith.constant 16 : index
      %many = arith.constant 0x7FFFFFFF : index
      scf.for %t = %c0 to %many step %c1 {
        %a = aie.objectfifo.acquire @in_core (Consume, 1) : !aie.objectfifosubview<memref<16xi32>>
        %x = aie.objectfifo.subview.access %a[0] : !aie.objectfifosubview<memref<16xi32>> -> memref<16xi32>
        %b = aie.objectfifo.acquire @out (Produce, 1) : !aie.objectfifosubview<memref<16xi32>>
        %y = aie.objectfifo.subview.access %b[0] : !aie.objectfifosubview<memref<16xi32>> -> memref<16xi32>
        scf.for %i = %c0 to %c16 step %c1 {
          %v = memref.load %x[%i] : memref<16xi32>
          %w = arith.addi %v, %v : i32
          memref.store %w, %y[%i] : memref<16xi32>
        }
        aie.objectfifo.release @in_core (Consume, 1)
        aie.objectfifo.release @out (Produce, 1)
      }
      aie.end
    }
    aie.runtime_sequence(%a : memref<64xi32>, %b : memref<64xi32>) {
      aiex.npu.dma_memcpy_nd(%a[0, 0, 0, 0][1, 1, 1, 64][0, 0, 0, 1]) {metadata = @in, id = 0 : i64} : memref<64xi32>
      aiex.npu.dma_memcpy_nd(%b[0, 0, 0, 0][1, 1, 1, 64][0, 0, 0, 1]) {metadata = @out, id = 1 : i64, issue_token = true} : memref<64xi32>
      aiex.npu.dma_wait {symbol = @out}
    })";

TEST(Design, LowersFifosAsTheCompilerDoes) {
  const Design design = parse_design(device_text(kDoubler));
  const DeviceDesign& device = design.devices.at(0);
  EXPECT_EQ(device.columns, 4);
  // The link stores the bigger side's objects; the core's ends are double buffered.
  ASSERT_NE(find_buffer(device, "in_cons_buff_1"), nullptr);
  EXPECT_EQ(find_buffer(device, "in_cons_buff_1")->size, 128u);
  EXPECT_EQ(find_buffer(device, "in_core_buff_0"), nullptr);
  ASSERT_NE(find_buffer(device, "in_core_cons_buff_1"), nullptr);
  // The first buffer of a core lies above its stack.
  EXPECT_EQ(find_buffer(device, "in_core_cons_buff_0")->address, 0x400u);
  EXPECT_EQ(device.routes.size(), 3u);
  EXPECT_NE(find_shim_allocation(device, "in_shim_alloc"), nullptr);
  // write descriptor, patch, push for each transfer; then the wait
  EXPECT_EQ(design.sequence.size(), 7u);
  EXPECT_EQ(design.arguments.size(), 2u);
  EXPECT_EQ(design.arguments[1].size, 256u);
}

TEST(Design, LocksStartAtPoolSize) {
  const Design design = parse_design(device_text(kDoubler));
  for (const LockDecl& lock : design.devices[0].locks) {
    const bool produces = lock.name.find("_prod_lock") != std::string::npos;
    EXPECT_EQ(lock.initial_value, produces ? 2 : 0) << lock.name;
  }
}

TEST(Design, ErrorsNamePlaceAndExpectation) {
  EXPECT_EQ(parse_error("module {\n  aie.device(npu1) {\n    %t = aie.tile(0 2)\n  }\n}"),
            "t.mlir:3:21: expected ',' between column and row, found '2'");
  EXPECT_THAT(parse_error("module { aie.device(xcvc1902) { } }"), HasSubstr("expected npu1, npu2"));
  EXPECT_THAT(parse_error("module { aie.device(npu1) { aie.frobnicate } }"),
              HasSubstr("found 'aie.frobnicate'"));
  EXPECT_THAT(parse_error(device_text("    aie.flow(%a, DMA : 0, %a, DMA : 0)")),
              HasSubstr("'%a' is used but never defined"));
}

}  // namespace
}  // namespace tandem::npu
