// What a core can do beyond adding numbers: vectors, wider arithmetic, functions and branches. Each
// result is computed by hand or by an obvious loop.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "npu/emulator/design_texts.h"

namespace tandem::npu {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(CorePrograms, VectorsGoLaneByLane) {
  const std::vector<int32_t> out = run_core(one_core(R"(
      %zero = arith.constant 0 : i32
      %ten = arith.constant dense<10> : vector<16xi32>
      %v = vector.transfer_read %x[%c0], %zero {in_bounds = [true]} : memref<16xi32>, vector<16xi32>
      %m = arith.muli %v, %ten : vector<16xi32>
      %big = arith.cmpi sgt, %v, %ten : vector<16xi32>
      %s = arith.select %big, %m, %v : vector<16xi1>, vector<16xi32>
      vector.transfer_write %s, %y[%c0] {in_bounds = [true]} : vector<16xi32>, memref<16xi32>
  )"));
  for (int32_t i = 0; i < 16; ++i)
    EXPECT_EQ(out[static_cast<size_t>(i)], i + 1 > 10 ? 10 * (i + 1) : i + 1) << i;
}

TEST(CorePrograms, LoopsCarryVectorsAndReductionsEndThem) {
  // Four vectors of four are summed, then the lanes of the sum; 1 + .. + 16 = 136.
  const std::vector<int32_t> out = run_core(one_core(R"(
      %c4 = arith.constant 4 : index
      %c16 = arith.constant 16 : index
      %start = arith.constant dense<0> : vector<4xi32>
      %sum = scf.for %i = %c0 to %c16 step %c4 iter_args(%s = %start) -> (vector<4xi32>) {
        %v = vector.load %x[%i] : memref<16xi32>, vector<4xi32>
        %n = arith.addi %s, %v : vector<4xi32>
        scf.yield %n : vector<4xi32>
      }
      %total = vector.reduction <add>, %sum : vector<4xi32> into i32
      %lane = vector.extract %sum[2] : i32 from vector<4xi32>
      %all = vector.broadcast %total : i32 to vector<16xi32>
      %mixed = vector.insert %lane, %all[1] : i32 into vector<16xi32>
      vector.store %mixed, %y[%c0] : memref<16xi32>, vector<16xi32>
  )"));
  EXPECT_EQ(out[0], 136);
  EXPECT_EQ(out[1], 3 + 7 + 11 + 15);
  EXPECT_EQ(out[15], 136);
}

TEST(CorePrograms, VectorsBeyondTheMemrefAreRefused) {
  const std::string text = one_core(R"(
      %c4 = arith.constant 4 : index
      %v = vector.load %x[%c4] : memref<16xi32>, vector<16xi32>
      vector.store %v, %y[%c0] : memref<16xi32>, vector<16xi32>)");
  EXPECT_THAT(run_error(text, {counting(1, 16), std::vector<int32_t>(16)}),
              HasSubstr("index 4 is outside"));
}

TEST(CorePrograms, IndexMathAndSwitches) {
  const std::vector<int32_t> out = run_core(one_core(R"(
      %c1 = arith.constant 1 : index
      %c16 = arith.constant 16 : index
      scf.for %i = %c0 to %c16 step %c1 {
        %three = index.constant 3
        %r = index.remu %i, %three
        %value = scf.index_switch %r -> i32
        case 0 { %a0 = arith.constant 100 : i32
          scf.yield %a0 : i32 }
        case 2 { %v = memref.load %x[%i] : memref<16xi32>
          %f = arith.sitofp %v : i32 to f32
          %q = math.sqrt %f : f32
          %n = arith.fptosi %q : f32 to i32
          scf.yield %n : i32 }
        default { %d = arith.constant -1 : i32
          scf.yield %d : i32 }
        memref.store %value, %y[%i] : memref<16xi32>
      })"));
  for (int i = 0; i < 16; ++i)
    EXPECT_EQ(out[static_cast<size_t>(i)], i % 3 == 0   ? 100
                                           : i % 3 == 2 ? static_cast<int>(std::sqrt(i + 1.0))
                                                        : -1)
        << i;
}

TEST(CorePrograms, FloatsCompareByTheirRelation) {
  struct Case {
    const char* predicate;
    std::array<int32_t, 4> want;  // of 1, 2, 0.5 and NaN to 1
  };
  for (const Case& c :
       {Case{"false", {0, 0, 0, 0}}, Case{"oeq", {1, 0, 0, 0}}, Case{"ogt", {0, 1, 0, 0}},
        Case{"oge", {1, 1, 0, 0}}, Case{"olt", {0, 0, 1, 0}}, Case{"ole", {1, 0, 1, 0}},
        Case{"one", {0, 1, 1, 0}}, Case{"ord", {1, 1, 1, 0}}, Case{"ueq", {1, 0, 0, 1}},
        Case{"ugt", {0, 1, 0, 1}}, Case{"uge", {1, 1, 0, 1}}, Case{"ult", {0, 0, 1, 1}},
        Case{"ule", {1, 0, 1, 1}}, Case{"une", {0, 1, 1, 1}}, Case{"uno", {0, 0, 0, 1}},
        Case{"true", {1, 1, 1, 1}}}) {
    // NaN has no spelling but its bits.
    const std::vector<int32_t> out = run_core(one_core(fmt::format(R"(
      %v = arith.constant dense<[1.0, 2.0, 0.5, 0x7FC00000]> : vector<4xf32>
      %one = arith.constant dense<0x3F800000> : vector<4xf32>
      %is = arith.cmpf {}, %v, %one : vector<4xf32>
      %number = arith.extui %is : vector<4xi1> to vector<4xi32>
      vector.store %number, %y[%c0] : memref<16xi32>, vector<4xi32>)",
                                                                   c.predicate)));
    for (size_t i = 0; i < 4; ++i) EXPECT_EQ(out[i], c.want[i]) << c.predicate << " " << i;
  }
}

TEST(CorePrograms, FloatsAreWrittenWithAPointOrAsBits) {
  EXPECT_THAT(run_error(one_core("%f = arith.constant 1 : f32\n"),
                        {counting(1, 16), std::vector<int32_t>(16)}),
              HasSubstr("a float is written with a point, or in hexadecimal as its bits"));
}

TEST(CorePrograms, NumbersFollowTheirDialect) {
  struct Case {
    const char* body;  // %i is -5, %f is -2.5, %nan is no number; gives %r, an i32
    int32_t want;
  };
  for (const Case& c :
       {Case{"%m = affine.apply affine_map<(d0) -> (d0 mod 3)>(%x5)\n"
             "%r = arith.index_cast %m : index to i32",
             1},
        Case{"%m = affine.min affine_map<(d0) -> (d0, -7)>(%x5)\n"
             "%r = arith.index_cast %m : index to i32",
             -7},
        Case{"%t = arith.constant 2 : i32\n%r = arith.ceildivui %i, %t : i32", INT32_MAX - 1},
        Case{"%r = math.ctpop %i : i32", 31}, Case{"%r = math.ctlz %i : i32", 0},
        Case{"%t = arith.constant 40 : i32\n%r = math.cttz %t : i32", 3},
        Case{"%q = math.trunc %f : f32\n%r = arith.fptosi %q : f32 to i32", -2},
        Case{"%q = math.round %f : f32\n%r = arith.fptosi %q : f32 to i32", -3},
        Case{"%t = arith.constant 2.0 : f32\n%q = arith.remf %f, %t : f32\n"
             "%p = arith.mulf %q, %t : f32\n%r = arith.fptosi %p : f32 to i32",
             -1},
        Case{"%q = arith.minimumf %f, %nan : f32\n%s = arith.cmpf uno, %q, %q : f32\n"
             "%r = arith.extui %s : i1 to i32",
             1},
        Case{"%q = arith.minnumf %f, %nan : f32\n%r = arith.fptosi %q : f32 to i32", -2}}) {
    const std::vector<int32_t> out = run_core(one_core(fmt::format(R"(
      %x5 = arith.constant -5 : index
      %i = arith.constant -5 : i32
      %f = arith.constant -2.5 : f32
      %nan = arith.constant 0x7FC00000 : f32
      {}
      memref.store %r, %y[%c0] : memref<16xi32>)",
                                                                   c.body)));
    EXPECT_EQ(out[0], c.want) << c.body;
  }
}

TEST(CorePrograms, ConstantsOfTheDeviceAndVariablesOnTheStack) {
  const std::vector<int32_t> out = run_core(one_core(R"(
      %c1 = arith.constant 1 : index
      %c4 = arith.constant 4 : index
      %table = memref.get_global @squares : memref<4xi32>
      scf.for %once = %c0 to %c1 step %c1 {
        %tmp = memref.alloca() : memref<4x4xi32>
        scf.for %i = %c0 to %c4 step %c1 {
          %s = memref.load %table[%i] : memref<4xi32>
          scf.for %j = %c0 to %c4 step %c1 {
            memref.store %s, %tmp[%i, %j] : memref<4x4xi32>
          }
        }
        %turned = memref.reinterpret_cast %y to offset: [0], sizes: [4, 4], strides: [1, 4] : memref<16xi32> to memref<4x4xi32, strided<[1, 4]>>
        memref.copy %tmp, %turned : memref<4x4xi32> to memref<4x4xi32, strided<[1, 4]>>
      })",
                                                     R"(
    memref.global "private" constant @squares : memref<4xi32> = dense<[0, 1, 4, 9]>)"));
  for (size_t i = 0; i < 16; ++i) EXPECT_EQ(out[i], static_cast<int32_t>((i % 4) * (i % 4))) << i;
}

TEST(CorePrograms, VariablesBeyondTheStackAndTheHeapAreRefused) {
  const auto refusal = [](const char* body) {
    return run_error(one_core(body), {counting(1, 16), std::vector<int32_t>(16)});
  };
  EXPECT_THAT(refusal("%t = memref.alloca() : memref<4xi32>\n"), HasSubstr("around it"));
  EXPECT_THAT(refusal("affine.for %i = 0 to 4 {\n%t = memref.alloca() : memref<1024xi32>\n}\n"),
              HasSubstr("variables of 4096 bytes exceed the stack of 1024 bytes"));
  EXPECT_THAT(refusal("%t = memref.alloc() : memref<4xi32>\n"), HasSubstr("has no heap"));
  EXPECT_THAT(refusal("%t = memref.get_global @none : memref<4xi32>\n"),
              HasSubstr("there is no memref.global '@none'"));
}

TEST(CorePrograms, FunctionsBranchAndTakeLocks) {
  const std::vector<int32_t> out = run_core(one_core(R"(
      %c1 = arith.constant 1 : index
      %c16 = arith.constant 16 : index
      scf.for %i = %c0 to %c16 step %c1 {
        %v = memref.load %x[%i] : memref<16xi32>
        %w = func.call @bounded(%v, %turn) : (i32, index) -> i32
        memref.store %w, %y[%i] : memref<16xi32>
      })",
                                                     R"(
    %place = aie.tile(0, 2)
    %turn = aie.lock(%place) {init = 1 : i32}
    func.func private @bounded(%v: i32, %lock: index) -> i32 {
      aie.use_lock(%lock, AcquireGreaterEqual, 1)
      aie.use_lock(%lock, Release, 1)
      %ten = arith.constant 10 : i32
      %big = arith.cmpi sgt, %v, %ten : i32
      cf.cond_br %big, ^cut, ^whole
    ^cut:
      return %ten : i32
    ^whole:
      return %v : i32
    })"));
  for (int32_t i = 0; i < 16; ++i) EXPECT_EQ(out[static_cast<size_t>(i)], std::min(i + 1, 10)) << i;
}

TEST(CorePrograms, FunctionsThatMultiplyAreRefused) {
  std::string functions = "func.func @f0(%b: memref<16xi32>) {\n return\n}\n";
  for (int i = 1; i < 30; ++i)
    functions += fmt::format(
        "func.func @f{0}(%b: memref<16xi32>) {{\n func.call @f{1}(%b) : (memref<16xi32>) -> ()\n "
        "func.call @f{1}(%b) : (memref<16xi32>) -> ()\n return\n}}\n",
        i, i - 1);
  EXPECT_THAT(run_error(one_core("func.call @f29(%x) : (memref<16xi32>) -> ()\n", functions),
                        {counting(1, 16), std::vector<int32_t>(16)}),
              HasSubstr("exceeds 250000 instructions"));
}

TEST(CorePrograms, LanesMoveByPosition) {
  // %m is 1 to 16 as four rows of four; %r gives the first words of the result.
  struct Case {
    const char* body;
    std::vector<int32_t> want;
  };
  for (const Case& c : {
           Case{"%r = vector.transpose %m, [1, 0] : vector<4x4xi32> to vector<4x4xi32>",
                {1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15, 4, 8, 12, 16}},
           Case{"%r = vector.extract_strided_slice %m {offsets = [1, 2], sizes = [2, 2], strides = "
                "[1, 1]} : vector<4x4xi32> to vector<2x2xi32>",
                {7, 8, 11, 12}},
           Case{"%p = arith.constant dense<[90, 91]> : vector<2xi32>\n"
                "%r = vector.insert_strided_slice %p, %m {offsets = [1, 2], strides = [1]} : "
                "vector<2xi32> into vector<4x4xi32>",
                {1, 2, 3, 4, 5, 6, 90, 91, 9, 10, 11, 12, 13, 14, 15, 16}},
           Case{"%r = vector.shuffle %m, %m [3, 4] : vector<4x4xi32>, vector<4x4xi32>",
                {13, 14, 15, 16, 1, 2, 3, 4}},
           Case{"%k = arith.constant dense<[[1], [2]]> : vector<2x1xi32>\n"
                "%r = vector.broadcast %k : vector<2x1xi32> to vector<2x3xi32>",
                {1, 1, 1, 2, 2, 2}},
           Case{"%z = arith.constant dense<100> : vector<4xi32>\n"
                "%r = vector.multi_reduction <add>, %m, %z [1] : vector<4x4xi32> to vector<4xi32>",
                {110, 126, 142, 158}},
           Case{"%z = arith.constant dense<1> : vector<4x4xi32>\n"
                "%r = vector.contract {indexing_maps = [affine_map<(i, j, k) -> (i, k)>, "
                "affine_map<(i, j, k) -> (j, k)>, affine_map<(i, j, k) -> (i, j)>], iterator_types "
                "= [\"parallel\", \"parallel\", \"reduction\"], kind = #vector.kind<add>} %m, %m, "
                "%z : vector<4x4xi32>, vector<4x4xi32> into vector<4x4xi32>",
                {31, 71, 111, 151, 71, 175}},  // 1 + row i times row j
       }) {
    const std::string body = c.body;
    const std::string type = body.substr(body.rfind("vector<"));
    const std::string result = body.find("shuffle") == std::string::npos ? type : "vector<2x4xi32>";
    const size_t lanes = body.find("contract") == std::string::npos ? c.want.size() : 16;
    const std::vector<int32_t> out = run_core(one_core(fmt::format(R"(
      %zero = arith.constant 0 : i32
      %v = vector.transfer_read %x[%c0], %zero {{in_bounds = [true]}} : memref<16xi32>, vector<16xi32>
      %m = vector.shape_cast %v : vector<16xi32> to vector<4x4xi32>
      {0}
      %f = vector.shape_cast %r : {1} to vector<{2}xi32>
      vector.store %f, %y[%c0] : memref<16xi32>, vector<{2}xi32>)",
                                                                   body, result, lanes)));
    for (size_t i = 0; i < c.want.size(); ++i) EXPECT_EQ(out[i], c.want[i]) << body << " " << i;
  }
}

TEST(CorePrograms, TransfersFollowTheirPermutation) {
  const std::vector<int32_t> out = run_core(one_core(R"(
      %zero = arith.constant 0 : i32
      %rows = memref.reinterpret_cast %x to offset: [0], sizes: [4, 4], strides: [4, 1] : memref<16xi32> to memref<4x4xi32, strided<[4, 1]>>
      %turned = vector.transfer_read %rows[%c0, %c0], %zero {in_bounds = [true, true], permutation_map = affine_map<(d0, d1) -> (d1, d0)>} : memref<4x4xi32, strided<[4, 1]>>, vector<4x4xi32>
      %f = vector.shape_cast %turned : vector<4x4xi32> to vector<16xi32>
      vector.store %f, %y[%c0] : memref<16xi32>, vector<16xi32>)"));
  for (int32_t i = 0; i < 16; ++i) EXPECT_EQ(out[static_cast<size_t>(i)], i % 4 * 4 + i / 4 + 1);
}

TEST(CorePrograms, TheGenericFormMeansTheSame) {
  // The default of scf.index_switch is its first region; bounds and indices are maps.
  const std::vector<int32_t> out = run_core(one_core(R"(
      %seven = arith.constant 7 : i32
      %nine = arith.constant 9 : i32
      "affine.for"() <{lowerBoundMap = affine_map<() -> (0)>, operandSegmentSizes = array<i32: 0, 0, 0>, step = 2 : index, upperBoundMap = affine_map<() -> (8)>}> ({
      ^bb0(%i: index):
        %half = "affine.apply"(%i) <{map = affine_map<(d0) -> (d0 floordiv 2)>}> : (index) -> index
        %r = "scf.index_switch"(%half) <{cases = array<i64: 1>}> ({
          "scf.yield"(%seven) : (i32) -> ()
        }, {
          "scf.yield"(%nine) : (i32) -> ()
        }) : (index) -> i32
        %part = "memref.reinterpret_cast"(%y, %half) <{operandSegmentSizes = array<i32: 1, 1, 0, 0>, static_offsets = array<i64: -9223372036854775808>, static_sizes = array<i64: 4>, static_strides = array<i64: 1>}> : (memref<16xi32>, index) -> memref<4xi32, strided<[1], offset: ?>>
        "affine.store"(%r, %part, %i) <{map = affine_map<(d0) -> (d0 floordiv 2)>}> : (i32, memref<4xi32, strided<[1], offset: ?>>, index) -> ()
        "affine.yield"() : () -> ()
      }) : () -> ())"));
  EXPECT_THAT(std::vector<int32_t>(out.begin(), out.begin() + 7), ElementsAre(7, 0, 9, 0, 7, 0, 7));
}

TEST(CorePrograms, BranchesBetweenBlocksPassBuffersAndNumbers) {
  // A rotating choice of two buffers, as the compiler lowers dynamic FIFOs.
  const std::string text = device_text(std::string(kTiles) + R"(
    aie.objectfifo @out(%core, {%shim}, 1 : i32) : !aie.objectfifo<memref<16xi32>>
    %even = aie.buffer(%core) {sym_name = "even"} : memref<1xi32> = dense<"0x0A000000">
    %odd = aie.buffer(%core) {sym_name = "odd"} : memref<1xi32> = dense<[20]>
    aie.core(%core) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %c16 = arith.constant 16 : index
      %two = arith.constant 2 : i32
      %b = aie.objectfifo.acquire @out(Produce, 1) : !aie.objectfifosubview<memref<16xi32>>
      %y = aie.objectfifo.subview.access %b[0] : !aie.objectfifosubview<memref<16xi32>> -> memref<16xi32>
      cf.br ^head(%c0 : index)
    ^head(%i : index):
      %more = arith.cmpi slt, %i, %c16 : index
      cf.cond_br %more, ^body, ^last
    ^body:
      %n = arith.index_cast %i : index to i32
      %r = arith.remsi %n, %two : i32
      cf.switch %r : i32, [
        default: ^store(%odd : memref<1xi32>),
        0: ^store(%even : memref<1xi32>)
      ]
    ^store(%source : memref<1xi32>):
      %v = memref.load %source[%c0] : memref<1xi32>
      memref.store %v, %y[%i] : memref<16xi32>
      %next = arith.addi %i, %c1 : index
      cf.br ^head(%next : index)
    ^last:
      aie.objectfifo.release @out(Produce, 1)
      aie.end
    }
    aie.runtime_sequence(%a : memref<16xi32>) {
      aiex.npu.dma_memcpy_nd(%a[0, 0, 0, 0][1, 1, 1, 16][0, 0, 0, 1]) {metadata = @out, id = 0 : i64} : memref<16xi32>
      aiex.npu.dma_wait {symbol = @out}
    })");
  std::vector<std::vector<int32_t>> arguments{std::vector<int32_t>(16)};
  run(text, arguments);
  for (size_t i = 0; i < 16; ++i) EXPECT_EQ(arguments[0][i], i % 2 == 0 ? 10 : 20) << i;
}

}  // namespace
}  // namespace tandem::npu
