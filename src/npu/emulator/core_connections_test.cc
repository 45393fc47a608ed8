// What joins cores: cascades, streams, switch settings as a router writes them, control packets.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "npu/emulator/design_texts.h"
#include "npu/emulator/kernel_call.h"

namespace tandem::npu {
namespace {

using testing::HasSubstr;

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
