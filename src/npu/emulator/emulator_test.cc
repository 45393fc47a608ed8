// Tests of the emulator: data, synchronisation, errors and the timing model.
// SPDX-License-Identifier: Apache-2.0
#include "npu/emulator/emulator.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "base/error.h"
#include "npu/emulator/design_texts.h"

namespace tandem::npu {
namespace {

using testing::HasSubstr;

// A core that adds a constant to every word of FIFO elements of `words` words.
std::string adder_core(int words, int addend, const std::string& in, const std::string& out) {
  return fmt::format(R"(
    aie.core(%core) {{
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %n = arith.constant {0} : index
      %many = arith.constant 0xFFFFFFFF : index
      %k = arith.constant {1} : i32
      scf.for %t = %c0 to %many step %c1 {{
        %a = aie.objectfifo.acquire @{2}(Consume, 1) : !aie.objectfifosubview<memref<{0}xi32>>
        %x = aie.objectfifo.subview.access %a[0] : !aie.objectfifosubview<memref<{0}xi32>> -> memref<{0}xi32>
        %b = aie.objectfifo.acquire @{3}(Produce, 1) : !aie.objectfifosubview<memref<{0}xi32>>
        %y = aie.objectfifo.subview.access %b[0] : !aie.objectfifosubview<memref<{0}xi32>> -> memref<{0}xi32>
        scf.for %i = %c0 to %n step %c1 {{
          %v = memref.load %x[%i] : memref<{0}xi32>
          %w = arith.addi %v, %k : i32
          memref.store %w, %y[%i] : memref<{0}xi32>
        }}
        aie.objectfifo.release @{2}(Consume, 1)
        aie.objectfifo.release @{3}(Produce, 1)
      }}
      aie.end
    }})",
                     words, addend, in, out);
}

std::string adder(int addend) {
  return device_text(std::string(kTiles) + R"(
    aie.objectfifo @in(%shim, {%core}, 2 : i32) : !aie.objectfifo<memref<16xi32>>
    aie.objectfifo @out(%core, {%shim}, 2 : i32) : !aie.objectfifo<memref<16xi32>>)" +
                     adder_core(16, addend, "in", "out") + sequence_text(64, 64));
}

TEST(Emulator, RunsACoreBetweenTwoFifos) {
  std::vector<std::vector<int32_t>> arguments{counting(100, 64), std::vector<int32_t>(64)};
  const EmulationResult result = run(adder(7), arguments);
  EXPECT_EQ(arguments[1], counting(107, 64));
  EXPECT_EQ(result.host_bytes_read, 256u);
  EXPECT_EQ(result.host_bytes_written, 256u);
  EXPECT_TRUE(result.warnings.empty()) << result.warnings.front();
}

TEST(Emulator, LinksSplitAndCollectObjects) {
  const std::string text = device_text(std::string(kTiles) + R"(
    %core2 = aie.tile(0, 3)
    aie.objectfifo @in(%shim, {%mem}, 2 : i32) : !aie.objectfifo<memref<24xi32>>
    aie.objectfifo @a(%mem, {%core}, 2 : i32) : !aie.objectfifo<memref<8xi32>>
    aie.objectfifo @b(%mem, {%core2}, 2 : i32) : !aie.objectfifo<memref<16xi32>>
    aie.objectfifo.link [@in] -> [@a, @b] ([] [0, 8])
    aie.objectfifo @c(%core, {%mem}, 2 : i32) : !aie.objectfifo<memref<8xi32>>
    aie.objectfifo @d(%core2, {%mem}, 2 : i32) : !aie.objectfifo<memref<16xi32>>
    aie.objectfifo @out(%mem, {%shim}, 2 : i32) : !aie.objectfifo<memref<24xi32>>
    aie.objectfifo.link [@c, @d] -> [@out] ([0, 8] []))" +
                                       adder_core(8, 1000, "a", "c") +
                                       [] {
                                         std::string second = adder_core(16, 2000, "b", "d");
                                         return second.replace(second.find("%core"), 5, "%core2");
                                       }() +
                                       sequence_text(72, 72));
  std::vector<std::vector<int32_t>> arguments{counting(0, 72), std::vector<int32_t>(72)};
  run(text, arguments);
  for (int i = 0; i < 72; ++i)
    EXPECT_EQ(arguments[1][static_cast<size_t>(i)], i + (i % 24 < 8 ? 1000 : 2000)) << i;
}

TEST(Emulator, TransposesOnTheWayIntoTheStream) {
  // 4 rows of 6 words leave the mem tile column by column.
  const std::string text = device_text(std::string(kTiles) + R"(
    aie.objectfifo @in(%shim, {%mem}, 2 : i32) : !aie.objectfifo<memref<24xi32>>
    aie.objectfifo @out(%mem dimensionsToStream [<size = 6, stride = 1>, <size = 4, stride = 6>], {%shim}, 2 : i32) : !aie.objectfifo<memref<24xi32>>
    aie.objectfifo.link [@in] -> [@out] ([] []))" +
                                       sequence_text(24, 24));
  std::vector<std::vector<int32_t>> arguments{counting(0, 24), std::vector<int32_t>(24)};
  run(text, arguments);
  for (int column = 0; column < 6; ++column)
    for (int row = 0; row < 4; ++row)
      EXPECT_EQ(arguments[1][static_cast<size_t>(column * 4 + row)], row * 6 + column);
}

TEST(Emulator, NamesTheCycleOfADeadlock) {
  // Each core waits for the other's FIFO before it fills its own.
  const auto core = [](const char* tile, const char* first, const char* second) {
    return fmt::format(R"(
    aie.core(%{0}) {{
      %a = aie.objectfifo.acquire @{1}(Consume, 1) : !aie.objectfifosubview<memref<4xi32>>
      %b = aie.objectfifo.acquire @{2}(Produce, 1) : !aie.objectfifosubview<memref<4xi32>>
      aie.objectfifo.release @{2}(Produce, 1)
      aie.end
    }})",
                       tile, first, second);
  };
  const std::string text = device_text(std::string(kTiles) + R"(
    %other = aie.tile(0, 3)
    aie.objectfifo @in(%shim, {%core}, 2 : i32) : !aie.objectfifo<memref<4xi32>>
    aie.objectfifo @to(%core, {%other}, 2 : i32) : !aie.objectfifo<memref<4xi32>>
    aie.objectfifo @back(%other, {%core}, 2 : i32) : !aie.objectfifo<memref<4xi32>>
    aie.objectfifo @out(%core, {%shim}, 2 : i32) : !aie.objectfifo<memref<4xi32>>)" +
                                       core("other", "to", "back") + R"(
    aie.core(%core) {
      %a = aie.objectfifo.acquire @back(Consume, 1) : !aie.objectfifosubview<memref<4xi32>>
      %b = aie.objectfifo.acquire @to(Produce, 1) : !aie.objectfifosubview<memref<4xi32>>
      aie.objectfifo.release @to(Produce, 1)
      %c = aie.objectfifo.acquire @out(Produce, 1) : !aie.objectfifosubview<memref<4xi32>>
      aie.objectfifo.release @out(Produce, 1)
      aie.end
    })" + sequence_text(4, 4));
  const std::string error = run_error(text, {counting(0, 4), std::vector<int32_t>(4)});
  EXPECT_THAT(error, HasSubstr("deadlock: the runtime sequence waits on line"));
  EXPECT_THAT(error, HasSubstr("the core of tile (0, 2) on line 20 waits for lock"));
  EXPECT_THAT(error, HasSubstr("the core of tile (0, 3) on line 14 waits for lock"));
  EXPECT_THAT(error, HasSubstr("which closes the cycle at the core of tile (0, 2)"));
}

TEST(Emulator, SaysWhoWillNeverRelease) {
  const std::string text = device_text(std::string(kTiles) + R"(
    aie.objectfifo @in(%shim, {%core}, 2 : i32) : !aie.objectfifo<memref<16xi32>>
    aie.objectfifo @out(%core, {%shim}, 2 : i32) : !aie.objectfifo<memref<16xi32>>
    aie.core(%core) {
      %a = aie.objectfifo.acquire @out(Produce, 1) : !aie.objectfifosubview<memref<16xi32>>
      aie.end
    })" + sequence_text(64, 64));
  const std::string error = run_error(text, {counting(0, 64), std::vector<int32_t>(64)});
  EXPECT_THAT(error, HasSubstr("'out_cons_lock_0' of tile (0, 2) to be at least 1 (it is 0), and "
                               "nothing that runs releases it"));
}

TEST(Emulator, ReportsReadsOfUnwrittenMemory) {
  const std::string text = device_text(std::string(kTiles) + R"(
    %idle = aie.buffer(%mem) {sym_name = "idle"} : memref<16xi32>
    aie.flow(%mem, DMA : 0, %shim, DMA : 0)
    aie.shim_dma_allocation @out(%shim, S2MM, 0)
    aie.memtile_dma(%mem) {
      %0 = aie.dma_start(MM2S, 0, ^bd, ^end)
    ^bd:
      aie.dma_bd(%idle : memref<16xi32>, 0, 16)
      aie.end
    ^end:
      aie.end
    }
    aie.runtime_sequence(%b : memref<16xi32>) {
      aiex.npu.dma_memcpy_nd(%b[0, 0, 0, 0][1, 1, 1, 16][0, 0, 0, 1]) {metadata = @out, id = 1 : i64} : memref<16xi32>
      aiex.npu.dma_wait {symbol = @out}
    })");
  std::vector<std::vector<int32_t>> arguments{std::vector<int32_t>(16, 9)};
  const EmulationResult result = run(text, arguments);
  ASSERT_EQ(result.warnings.size(), 1u);
  EXPECT_THAT(
      result.warnings[0],
      HasSubstr("t.mlir:14:7: MM2S channel 0 of tile (0, 1) reads byte 0 of buffer 'idle'"));
}

TEST(Emulator, SameEventsWithoutData) {
  std::vector<std::vector<int32_t>> arguments{counting(0, 64), std::vector<int32_t>(64)};
  const EmulationResult with_data = run(adder(1), arguments);
  EmulatorOptions options;
  options.move_data = false;
  std::vector<std::vector<int32_t>> untouched{counting(0, 64), std::vector<int32_t>(64, 5)};
  const EmulationResult without = run(adder(1), untouched, options);
  EXPECT_EQ(with_data.cycles, without.cycles);
  EXPECT_EQ(untouched[1], std::vector<int32_t>(64, 5));
}

// A mem tile's ring of descriptors between the shim's two channels, in the compact spelling.
std::string through_mem_tile(const std::string& send, size_t in, size_t out, size_t buffer) {
  return device_text(std::string(kTiles) +
                     fmt::format(R"(
    %store = aie.buffer(%mem) : memref<{0}xi32>
    %p = aie.lock(%mem) {{init = 1 : i32}}
    %c = aie.lock(%mem) {{init = 0 : i32}}
    aie.flow(%shim, DMA : 0, %mem, DMA : 0)
    aie.flow(%mem, DMA : 0, %shim, DMA : 0)
    aie.shim_dma_allocation @in(%shim, MM2S, 0)
    aie.shim_dma_allocation @out(%shim, S2MM, 0)
    aie.memtile_dma(%mem) {{
      %0 = aie.dma(S2MM, 0) [{{
        aie.use_lock(%p, AcquireGreaterEqual, 1)
        aie.dma_bd(%store : memref<{0}xi32>)
        aie.use_lock(%c, Release, 1)
      }}]
      %1 = aie.dma(MM2S, 0) [{{
        aie.use_lock(%c, AcquireGreaterEqual, 1)
        {1}
        aie.use_lock(%p, Release, 1)
      }}]
      aie.end
    }})",
                                 buffer, send) +
                     sequence_text(in, out));
}

TEST(Emulator, PadsWithZeros) {
  std::vector<std::vector<int32_t>> arguments{counting(1, 6), std::vector<int32_t>(20, 9)};
  run(through_mem_tile("aie.dma_bd(%store : memref<6xi32>, 0, 20, [<size = 2, stride = 3>, "
                       "<size = 3, stride = 1>], [<const_pad_before = 1, const_pad_after = 1>, "
                       "<const_pad_before = 2, const_pad_after = 0>])",
                       6, 20, 6),
      arguments);
  EXPECT_THAT(arguments[1],
              testing::ElementsAre(0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 0, 0, 4, 5, 6, 0, 0, 0, 0, 0));
}

TEST(Emulator, RewritesOfABusyDescriptorAreReported) {
  constexpr size_t kWords = 16384;
  std::vector<std::vector<int32_t>> arguments{counting(1, kWords), std::vector<int32_t>(kWords)};
  std::string text =
      through_mem_tile("aie.dma_bd(%store : memref<16384xi32>)", kWords, kWords, kWords);
  const std::string first = "id = 1 : i64";
  text.replace(text.find(first), first.size(), "id = 0 : i64");
  const EmulationResult result = run(text, arguments);
  ASSERT_FALSE(result.warnings.empty());
  EXPECT_THAT(result.warnings[0], HasSubstr("descriptor 0 of tile (0, 0) is rewritten while"));
}

TEST(Emulator, RejectsTransfersBeyondABuffer) {
  EXPECT_THAT(run_error(adder(1), {counting(0, 64), std::vector<int32_t>(60)}),
              HasSubstr("argument 1, beyond its end"));
}

TEST(Emulator, PacketsFindTheirDestination) {
  const std::string text = device_text(std::string(kTiles) + R"(
    %x = aie.buffer(%mem) : memref<4xi32>
    %y = aie.buffer(%core) : memref<4xi32> = dense<[7, 8, 9, 10]>
    %free = aie.lock(%mem) {init = 1 : i32}
    %full = aie.lock(%mem) {init = 0 : i32}
    aie.packet_flow(3) {
      aie.packet_source<%core, DMA : 0>
      aie.packet_dest<%mem, DMA : 0>
    }
    aie.packet_flow(4) {
      aie.packet_source<%mem, DMA : 0>
      aie.packet_dest<%shim, DMA : 0>
    } {keep_pkt_header = true}
    aie.shim_dma_allocation @out(%shim, S2MM, 0)
    aie.mem(%core) {
      %0 = aie.dma_start(MM2S, 0, ^bd, ^end)
    ^bd:
      aie.dma_bd(%y : memref<4xi32>) {packet = #aie.packet_info<pkt_type = 0, pkt_id = 3>}
      aie.end
    ^end:
      aie.end
    }
    aie.memtile_dma(%mem) {
      %0 = aie.dma(S2MM, 0) [{
        aie.use_lock(%free, AcquireGreaterEqual, 1)
        aie.dma_bd(%x : memref<4xi32>)
        aie.use_lock(%full, Release, 1)
      }]
      %1 = aie.dma(MM2S, 0) [{
        aie.use_lock(%full, AcquireGreaterEqual, 1)
        aie.dma_bd(%x : memref<4xi32>) {packet = #aie.packet_info<pkt_type = 0, pkt_id = 4>}
        aie.use_lock(%free, Release, 1)
      }]
      aie.end
    }
    aie.runtime_sequence(%b : memref<5xi32>) {
      aiex.npu.dma_memcpy_nd(%b[0, 0, 0, 0][1, 1, 1, 5][0, 0, 0, 1]) {metadata = @out, id = 1 : i64} : memref<5xi32>
      aiex.npu.dma_wait {symbol = @out}
    })");
  std::vector<std::vector<int32_t>> arguments{std::vector<int32_t>(5)};
  run(text, arguments);
  // The header: packet 4 from row 1, column 0, and a bit that makes the parity odd.
  EXPECT_EQ(static_cast<uint32_t>(arguments[0][0]), 0x80010004u);
  EXPECT_THAT(std::vector<int32_t>(arguments[0].begin() + 1, arguments[0].end()),
              testing::ElementsAre(7, 8, 9, 10));
}

// Registers, parameters, tasks with repeats and a chain, all without a core.
TEST(Emulator, RunsTasksAndRegisterWrites) {
  const std::string text = device_text(std::string(kTiles) + R"(
    %p = aie.buffer(%mem) {sym_name = "p"} : memref<4xi32>
    aie.flow(%mem, DMA : 0, %shim, DMA : 0)
    memref.global "private" constant @words : memref<2xi32> = dense<[21, 22]>
    aie.runtime_sequence(%b : memref<12xi32>) {
      aiex.npu.rtp_write(@p, 0, 20)
      %w = memref.get_global @words : memref<2xi32>
      aiex.npu.blockwrite(%w) {buffer = @p, address = 1 : ui32} : memref<2xi32>
      aiex.npu.write32 {buffer = @p, address = 3 : ui32, value = 0xFF : ui32}
      aiex.npu.maskwrite32 {buffer = @p, address = 3 : ui32, value = 23 : ui32, mask = 0xFF : ui32}
      %out = aiex.dma_configure_task(%shim, S2MM, 0) {
        aie.dma_bd(%b : memref<12xi32>, 4, 8)
        aie.next_bd ^rest
      ^rest:
        aie.dma_bd(%b : memref<12xi32>, 0, 4)
        aie.end
      } {issue_token = true}
      aiex.dma_start_task(%out)
      %in = aiex.dma_configure_task(%mem, MM2S, 0) {
        aie.dma_bd(%p : memref<4xi32>, 0, 4)
        aie.end
      } {repeat_count = 2 : i32}
      aiex.dma_start_task(%in)
      aiex.dma_await_task(%out)
    })");
  std::vector<std::vector<int32_t>> arguments{std::vector<int32_t>(12)};
  run(text, arguments);
  EXPECT_THAT(arguments[0], testing::ElementsAre(20, 21, 22, 23, 20, 21, 22, 23, 20, 21, 22, 23));
}

TEST(Emulator, EndsARunThatNeverEnds) {
  const Design design = parse_design(device_text(std::string(kTiles) + R"(
    aie.core(%core) {
      cf.br ^again
    ^again:
      cf.br ^again
    }
    aie.runtime_sequence() {
      aiex.npu.sync {column = 0 : i32, row = 0 : i32, direction = 0 : i32, channel = 0 : i32, column_num = 1 : i32, row_num = 1 : i32}
    })"));
  EmulatorOptions options;
  options.cycle_limit = 5'000'000;
  try {
    emulate(design, options, {});
    ADD_FAILURE() << "the run ended";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kTimeout);
  }
}

// Streams 64 MiB through each of `channels` shim channels into mem tiles that overwrite it.
double read_gigabytes_per_second(int channels, bool spread, double clock_hz) {
  const uint64_t words = 64ull << 18;
  std::string body;
  std::string transfers;
  std::string waits;
  for (int i = 0; i < channels; ++i) {
    const int column = spread ? i % 4 : i / 2;
    const int channel = spread ? i / 4 : i % 2;
    if (channel == 0)
      body += fmt::format("%s{0} = aie.tile({0}, 0)\n%m{0} = aie.tile({0}, 1)\n", column);
    body += fmt::format(R"(
      %b{0} = aie.buffer(%m{1}) : memref<16384xi32>
      aie.flow(%s{1}, DMA : {2}, %m{1}, DMA : {2})
      aie.shim_dma_allocation @in{0}(%s{1}, MM2S, {2})
)",
                        i, column, channel);
    transfers += fmt::format(
        "aiex.npu.dma_memcpy_nd(%a[0, 0, 0, 0][1, 1, 1, {0}][0, 0, 0, 1]) {{metadata = @in{1}, "
        "id = {2} : i64, issue_token = true}} : memref<{0}xi32>\n",
        words, i, channel);
    waits += fmt::format("aiex.npu.dma_wait {{symbol = @in{}}}\n", i);
  }
  for (int column = 0; column < 4; ++column) {
    std::string program;
    for (int i = 0; i < channels; ++i) {
      if ((spread ? i % 4 : i / 2) != column) continue;
      program += fmt::format(
          "%d{0} = aie.dma(S2MM, {1}) [{{ aie.dma_bd(%b{0} : memref<16384xi32>) }}, "
          "{{ aie.dma_bd(%b{0} : memref<16384xi32>) }}]\n",
          i, spread ? i / 4 : i % 2);
    }
    if (!program.empty())
      body += fmt::format("aie.memtile_dma(%m{}) {{\n{}aie.end\n}}\n", column, program);
  }
  const Design design = parse_design(
      device_text(body + fmt::format("aie.runtime_sequence(%a : memref<{}xi32>) {{\n", words) +
                  transfers + waits + "}"));
  EmulatorOptions options;
  options.move_data = false;
  options.timing.clock_hz = clock_hz;
  std::vector<HostBuffer> buffers{{{}, words * 4}};
  const EmulationResult result = emulate(design, options, buffers);
  return static_cast<double>(result.host_bytes_read) / result.seconds / 1e9;
}

// Aggregate read bandwidth measured on a Ryzen 7 8700G (ignite-xdna): 7.11, 27.49 and 47.62 GB/s.
TEST(Timing, ReadBandwidthOfShimChannels) {
  EXPECT_NEAR(read_gigabytes_per_second(1, false, 1.797e9), 7.11, 0.2);
  EXPECT_NEAR(read_gigabytes_per_second(4, true, 1.797e9), 27.5, 1);
  EXPECT_NEAR(read_gigabytes_per_second(8, true, 1.797e9), 47.6, 1.5);
  EXPECT_NEAR(read_gigabytes_per_second(8, true, 1.028e9), 31, 1.5);
}

}  // namespace
}  // namespace tandem::npu
