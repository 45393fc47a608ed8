// What cores can do beyond adding numbers: vectors, wider arithmetic, the cascade; and designs that
// come routed. Each result is computed by hand or by an obvious loop.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "npu/emulator/design_texts.h"
#include "npu/emulator/kernel_call.h"

namespace tandem::npu {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// One core that turns an object of 16 words into another: `body` works on %x and %y.
std::string one_core(const std::string& body, const std::string& functions = "") {
  return device_text(functions + std::string(kTiles) + R"(
    aie.objectfifo @in(%shim, {%core}, 1 : i32) : !aie.objectfifo<memref<16xi32>>
    aie.objectfifo @out(%core, {%shim}, 1 : i32) : !aie.objectfifo<memref<16xi32>>
    aie.core(%core) {
      %c0 = arith.constant 0 : index
      %a = aie.objectfifo.acquire @in(Consume, 1) : !aie.objectfifosubview<memref<16xi32>>
      %x = aie.objectfifo.subview.access %a[0] : !aie.objectfifosubview<memref<16xi32>> -> memref<16xi32>
      %b = aie.objectfifo.acquire @out(Produce, 1) : !aie.objectfifosubview<memref<16xi32>>
      %y = aie.objectfifo.subview.access %b[0] : !aie.objectfifosubview<memref<16xi32>> -> memref<16xi32>
)" + body + R"(
      aie.objectfifo.release @in(Consume, 1)
      aie.objectfifo.release @out(Produce, 1)
      aie.end
    })" + sequence_text(16, 16));
}

std::vector<int32_t> run_core(const std::string& text, const EmulatorOptions& options = {}) {
  std::vector<std::vector<int32_t>> arguments{counting(1, 16), std::vector<int32_t>(16)};
  run(text, arguments, options);
  return arguments[1];
}

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

// Two cores: the first sends its words east, the second adds one to what comes.
std::string cascade_design(const std::string& first, const std::string& second,
                           const std::string& functions = "") {
  return device_text(functions + R"(
    %shim = aie.tile(0, 0)
    %west = aie.tile(0, 2)
    %east = aie.tile(1, 2)
    aie.cascade_flow(%west, %east)
    aie.objectfifo @in(%shim, {%west}, 1 : i32) : !aie.objectfifo<memref<16xi32>>
    aie.objectfifo @out(%east, {%shim}, 1 : i32) : !aie.objectfifo<memref<16xi32>>
    aie.core(%west) {
      %c0 = arith.constant 0 : index
      %a = aie.objectfifo.acquire @in(Consume, 1) : !aie.objectfifosubview<memref<16xi32>>
      %x = aie.objectfifo.subview.access %a[0] : !aie.objectfifosubview<memref<16xi32>> -> memref<16xi32>
)" + first + R"(
      aie.objectfifo.release @in(Consume, 1)
      aie.end
    }
    aie.core(%east) {
      %c0 = arith.constant 0 : index
      %b = aie.objectfifo.acquire @out(Produce, 1) : !aie.objectfifosubview<memref<16xi32>>
      %y = aie.objectfifo.subview.access %b[0] : !aie.objectfifosubview<memref<16xi32>> -> memref<16xi32>
)" + second + R"(
      aie.objectfifo.release @out(Produce, 1)
      aie.end
    })" + sequence_text(16, 16));
}

const char* const kPut = R"(
      %v = vector.load %x[%c0] : memref<16xi32>, vector<16xi32>
      aie.put_cascade(%v : vector<16xi32>))";
const char* const kGet = R"(
      %w = aie.get_cascade() : vector<16xi32>
      vector.store %w, %y[%c0] : memref<16xi32>, vector<16xi32>)";

// The first core streams what it received to the second, which doubles it; `flow` joins them.
std::string streamed(const std::string& flow) {
  return device_text(std::string(kTiles) + R"(
    %other = aie.tile(0, 4)
    aie.objectfifo @out(%other, {%shim}, 1 : i32) : !aie.objectfifo<memref<16xi32>>
    aie.shim_dma_allocation @in (%shim, MM2S, 0)
    aie.flow(%shim, DMA : 0, %core, Core : 0)
)" + flow + R"(
    aie.core(%core) {
      %port = arith.constant 0 : i32
      cf.br ^more
    ^more:
      %v = aie.get_stream(%port : i32) : i32
      aie.put_stream(%port : i32, %v : i32)
      cf.br ^more
    }
    aie.core(%other) {
      %port = arith.constant 0 : i32
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %c16 = arith.constant 16 : index
      %b = aie.objectfifo.acquire @out(Produce, 1) : !aie.objectfifosubview<memref<16xi32>>
      %y = aie.objectfifo.subview.access %b[0] : !aie.objectfifosubview<memref<16xi32>> -> memref<16xi32>
      scf.for %i = %c0 to %c16 step %c1 {
        %v = aie.get_stream(%port : i32) : i32
        %w = arith.addi %v, %v : i32
        memref.store %w, %y[%i] : memref<16xi32>
      }
      aie.objectfifo.release @out(Produce, 1)
      aie.end
    })" + sequence_text(16, 16));
}

TEST(CoreStreams, CarryWordsFromTheShimToACoreAndOn) {
  const std::vector<int32_t> out =
      run_core(streamed("aie.flow(%core, Core : 0, %other, Core : 0)"));
  for (int32_t i = 0; i < 16; ++i) EXPECT_EQ(out[static_cast<size_t>(i)], 2 * (i + 1));
}

TEST(CoreStreams, NeedAFlowAndSomeoneWhoReads) {
  const auto error = [](const std::string& text) {
    return run_error(text, {counting(1, 16), std::vector<int32_t>(16)});
  };
  EXPECT_THAT(error(streamed("")), HasSubstr("stream port of the core of tile (0, "));
  // What the first core sends goes where nothing takes it.
  EXPECT_THAT(error(streamed("aie.flow(%core, Core : 0, %mem, DMA : 0)\n"
                             "aie.flow(%mem, DMA : 0, %other, Core : 0)")),
              HasSubstr("waits for data on its stream port, MM2S channel 0 of tile (0, 1)"));
}

TEST(Cascade, CarriesVectorsToTheNeighbour) {
  EXPECT_EQ(run_core(cascade_design(kPut, kGet)), counting(1, 16));
}

TEST(Cascade, AReaderWithoutAWriterIsADeadlock) {
  EXPECT_THAT(run_error(cascade_design("", kGet), {counting(1, 16), std::vector<int32_t>(16)}),
              HasSubstr("waits for its cascade's data"));
}

TEST(Cascade, WordsAre512Bits) {
  const char* const narrow = R"(
      %v = vector.load %x[%c0] : memref<16xi32>, vector<8xi32>
      aie.put_cascade(%v : vector<8xi32>))";
  EXPECT_THAT(run_error(cascade_design(narrow, kGet), {counting(1, 16), std::vector<int32_t>(16)}),
              HasSubstr("512 bits, not of 256"));
}

// More words than the cascade holds, so that both kernels wait in the middle, in turns.
TEST(Cascade, KernelsWaitForEachOther) {
  constexpr int kWords = 50;
  KernelTable kernels;
  kernels.add("send", {[](std::span<const KernelValue> arguments) {
                         std::array<int32_t, 16> word{};
                         for (int i = 0; i < kWords; ++i) {
                           std::memcpy(word.data(), arguments[0].buffer, sizeof word);
                           word[0] += i;
                           put_cascade_word(word.data());
                         }
                       },
                       [](std::span<const KernelValue>) { return 10; }});
  kernels.add("sum", {[](std::span<const KernelValue> arguments) {
                        std::array<int32_t, 16> word{}, sum{};
                        for (int i = 0; i < kWords; ++i) {
                          get_cascade_word(word.data());
                          for (size_t lane = 0; lane < 16; ++lane) sum[lane] += word[lane];
                        }
                        std::memcpy(arguments[0].buffer, sum.data(), sizeof sum);
                      },
                      [](std::span<const KernelValue>) { return 10; }});
  const std::string declared = R"(
    func.func private @send(memref<16xi32>) -> ()
    func.func private @sum(memref<16xi32>) -> ())";
  const std::string text = cascade_design("func.call @send(%x) : (memref<16xi32>) -> ()",
                                          "func.call @sum(%y) : (memref<16xi32>) -> ()", declared);
  EmulatorOptions options;
  options.kernels = &kernels;
  const std::vector<int32_t> out = run_core(text, options);
  EXPECT_EQ(out[0], kWords * 1 + kWords * (kWords - 1) / 2);
  for (int i = 1; i < 16; ++i) EXPECT_EQ(out[static_cast<size_t>(i)], kWords * (i + 1)) << i;

  // On a core without a cascade the same kernel is refused.
  const std::string alone = one_core("func.call @send(%x) : (memref<16xi32>) -> ()", declared);
  try {
    run_core(alone, options);
    ADD_FAILURE() << "ran";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("aie.cascade_flow"));
  }
}

// The streams of these designs are given as switch settings, as text comes out of a router.
std::string routed(const std::string& switches, const std::string& packet = "") {
  return device_text(std::string(kTiles) + switches + R"(
    %buffer = aie.buffer(%core) {sym_name = "buffer"} : memref<16xi32>
    %empty = aie.lock(%core, 0) {init = 1 : i32}
    %full = aie.lock(%core, 1) {init = 0 : i32}
    aie.shim_dma_allocation @in(%shim, MM2S, 0)
    aie.shim_dma_allocation @out(%shim, S2MM, 1)
    %m = aie.mem(%core) {
      %0 = aie.dma_start(S2MM, 0, ^in, ^next)
    ^in:
      aie.use_lock(%empty, AcquireGreaterEqual, 1)
      aie.dma_bd(%buffer : memref<16xi32>, 0, 16)
      aie.use_lock(%full, Release, 1)
      aie.next_bd ^in
    ^next:
      %1 = aie.dma_start(MM2S, 1, ^out, ^end)
    ^out:
      aie.use_lock(%full, AcquireGreaterEqual, 1)
      aie.dma_bd(%buffer : memref<16xi32>, 0, 16) )" +
                     packet + R"(
      aie.use_lock(%empty, Release, 1)
      aie.next_bd ^out
    ^end:
      aie.end
    })" + sequence_text(32, 32));
}

void expect_loopback(const std::string& text) {
  std::vector<std::vector<int32_t>> arguments{counting(1, 32), std::vector<int32_t>(32)};
  run(text, arguments);
  EXPECT_EQ(arguments[1], counting(1, 32));
}

// Circuits between the shim's DMA and the core's switch box: in by its south port 4, out by 2.
const std::string kCircuitsToTheCore = R"(
    %mux = aie.shim_mux(%shim) {
      aie.connect<DMA : 0, North : 3>
      aie.connect<North : 3, DMA : 1>
    }
    %s0 = aie.switchbox(%shim) {
      aie.connect<South : 3, North : 4>
      aie.connect<North : 2, South : 3>
    }
    %s1 = aie.switchbox(%mem) {
      aie.connect<South : 4, North : 4>
      aie.connect<North : 2, South : 2>
    })";

TEST(RoutedText, CircuitsAreFollowedThroughTheSwitches) {
  expect_loopback(routed(kCircuitsToTheCore + R"(
    %s2 = aie.switchbox(%core) {
      aie.connect<South : 4, DMA : 0>
      aie.connect<DMA : 1, South : 2>
    }
    aie.wire(%shim : North, %mem : South))"));
}

TEST(RoutedText, PacketsFollowTheFirstRuleThatMatches) {
  expect_loopback(routed(kCircuitsToTheCore + R"(
    %s2 = aie.switchbox(%core) {
      aie.connect<South : 4, DMA : 0>
      %wrong = aie.amsel<0> (0)
      %right = aie.amsel<0> (1)
      %ms0 = aie.masterset(DMA : 1, %wrong)
      %ms1 = aie.masterset(South : 2, %right)
      aie.packet_rules(DMA : 1) {
        aie.rule(31, 4, %wrong)
        aie.rule(29, 5, %right)
        aie.rule(0, 0, %wrong)
      }
    })",
                         "{packet = #aie.packet_info<pkt_type = 0, pkt_id = 7>}"));
}

TEST(Sequence, ControlPacketsWriteRegisters) {
  // The core's runtime parameter is written through the address of its memory, tile (0, 2).
  const std::string text = device_text(std::string(kTiles) + R"(
    %p = aie.buffer(%core) {sym_name = "p", address = 4096 : i32} : memref<2xi32>
    %go = aie.lock(%core, 3) {init = 0 : i32}
    aie.objectfifo @out(%core, {%shim}, 1 : i32) : !aie.objectfifo<memref<16xi32>>
    aie.core(%core) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      aie.use_lock(%go, AcquireGreaterEqual, 1)
      %b = aie.objectfifo.acquire @out(Produce, 1) : !aie.objectfifosubview<memref<16xi32>>
      %y = aie.objectfifo.subview.access %b[0] : !aie.objectfifosubview<memref<16xi32>> -> memref<16xi32>
      %v = memref.load %p[%c1] : memref<2xi32>
      %zero = arith.constant 0 : i32
      %all = vector.broadcast %v : i32 to vector<16xi32>
      vector.store %all, %y[%c0] : memref<16xi32>, vector<16xi32>
      aie.objectfifo.release @out(Produce, 1)
      aie.end
    }
    aie.runtime_sequence(%a : memref<16xi32>) {
      aiex.control_packet {address = 2101248 : ui32, opcode = 0 : i32, stream_id = 0 : i32, data = array<i32: 5, 77>}
      aiex.set_lock(%go, 1)
      aiex.npu.dma_memcpy_nd(%a[0, 0, 0, 0][1, 1, 1, 16][0, 0, 0, 1]) {metadata = @out, id = 0 : i64} : memref<16xi32>
      aiex.npu.dma_wait {symbol = @out}
    })");
  std::vector<std::vector<int32_t>> arguments{std::vector<int32_t>(16)};
  run(text, arguments);
  EXPECT_EQ(arguments[0], std::vector<int32_t>(16, 77));
}

}  // namespace
}  // namespace tandem::npu
