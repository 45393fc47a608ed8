// Tests of the AIE dialect's parser and of the lowering to a Design.
// SPDX-License-Identifier: Apache-2.0
#include "npu/aie_text/design.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/error.h"
#include "npu/aie_text/registers.h"

namespace tandem::npu {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

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

// kDoubler with the first `from` replaced.
std::string edited_doubler(const std::string& from, const std::string& to) {
  std::string text = kDoubler;
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return device_text(text.replace(at, from.size(), to));
}

TEST(Design, RefusesWhatTheCompilerVerifies) {
  struct Case {
    const char *from, *to, *message;
  };
  for (const Case& c : {
           Case{"memref.load %x[%i] : memref<16xi32>", "memref.load %x[%i] : memref<8xi32>",
                "t.mlir:22:37: '%x' is used with another type"},
           Case{"arith.addi %v, %v : i32", "arith.addi %v, %i : i32", "'%i' is used with another"},
           Case{"scf.for %i = %c0", "scf.for %t = %c0", "'%t' is defined twice"},
           Case{"%w = arith.addi", "%in = arith.constant 1 : i32\n%w = arith.addi", "no error"},
           Case{"%w = arith.addi", "%mem = arith.constant 1 : i32\n%w = arith.addi",
                "'%mem' is defined twice"},
           Case{"      aie.end\n", "", "the body of aie.core does not end in a terminator"},
           Case{"      aie.end\n", "      aie.end\n      aie.end\n",
                "aie.end must be the last operation of its block"},
           Case{"%x = aie.objectfifo.subview.access %a[0] : !aie.objectfifosubview<memref<16xi32>>",
                "%x = aie.objectfifo.subview.access %a[0] : !aie.objectfifosubview<memref<8xi32>>",
                "'%a' is used with another type"},
       })
    EXPECT_THAT(parse_error(edited_doubler(c.from, c.to)), HasSubstr(c.message));
}

TEST(Design, RefusesCallsAndTasksThatContradictThemselves) {
  const auto call = [](const std::string& type) {
    return parse_error(device_text(
        "%t = aie.tile(0, 2)\n%b = aie.buffer(%t) : memref<16xi32>\n"
        "func.func private @k(memref<16xi32>) attributes {link_with = \"k.o\"}\naie.core(%t) {\n"
        "func.call @k(%b) : (" +
        type + ") -> ()\naie.end\n}\n"));
  };
  EXPECT_EQ(call("memref<16xi32>"), "no error");
  EXPECT_THAT(call("memref<8xi32>"), HasSubstr("'%b' is used with another type"));
  EXPECT_THAT(parse_error(device_text("%t = aie.tile(0, 2)\n%b = aie.buffer(%t) : memref<8xi32>\n"
                                      "func.func private @k(memref<16xi32>)\naie.core(%t) {\n"
                                      "func.call @k(%b) : (memref<8xi32>) -> ()\naie.end\n}\n")),
              HasSubstr("argument 0 of '@k' is not of its declared type"));
  EXPECT_THAT(call("memref<16xi32>, i32"), HasSubstr("1 operands but 2 operand types"));

  const auto task = [](const std::string& length) {
    return parse_error(device_text(
        "%t = aie.tile(0, 0)\naie.runtime_sequence(%a : memref<64xi32>) {\n"
        "%1 = aiex.dma_configure_task(%t, MM2S, 0) {\naie.dma_bd(%a : memref<64xi32>, 0, " +
        length + ", [<size = 4, stride = 8>, <size = 8, stride = 1>])\naie.end\n}\n}\n"));
  };
  EXPECT_EQ(task("32"), "no error");
  EXPECT_THAT(task("64"), HasSubstr("the dimensions describe 32 elements, the length says 64"));
}

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

TEST(Design, WarnsOfFifosThatDoNotRotateOnTheArray) {
  const auto warnings = [](const std::string& from, const std::string& to) {
    return parse_design(edited_doubler(from, to), {"t.mlir", "", ""}).warnings;
  };
  EXPECT_THAT(warnings("scf.for %t", "scf.for %t"), IsEmpty());
  EXPECT_THAT(warnings("%a = aie.objectfifo.acquire @in_core (Consume, 1) : "
                       "!aie.objectfifosubview<memref<16xi32>>",
                       "%yes = arith.constant true\nscf.if %yes {\n%u = aie.objectfifo.acquire "
                       "@in_core (Consume, 1) : !aie.objectfifosubview<memref<16xi32>>\n}\n"
                       "%a = aie.objectfifo.acquire @in_core (Consume, 1) : "
                       "!aie.objectfifosubview<memref<16xi32>>"),
              ElementsAre(HasSubstr("mlir-aie rotates a FIFO's buffers in scf.for only")));
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

TEST(Design, EveryTruncationIsAnErrorOrADesign) {
  const std::string text = device_text(kDoubler);
  for (size_t size = 0; size < text.size(); ++size) {
    try {
      parse_design(std::string_view(text).substr(0, size));
      ADD_FAILURE() << "a design cut at byte " << size << " was accepted";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("design.mlir:"));
    }
    // Only the closing brace and what follows it may be missing.
    if (size + 3 > text.size()) break;
  }
}

TEST(Design, ReadsTheGenericForm) {
  const char* const text = R"("builtin.module"() ({
  "aie.device"() <{device = 4 : i32, sym_name = "main"}> ({
    %0 = "aie.tile"() <{col = 1 : i32, row = 2 : i32}> : () -> index
    %1 = "aie.lock"(%0) <{init = 2 : i32, lockID = 3 : i32}> : (index) -> index
    %2 = "aie.buffer"(%0) <{sym_name = "b"}> : (index) -> memref<8xbf16>
    "aie.core"(%0) <{stack_size = 2048 : i32}> ({
      "aie.use_lock"(%1) <{action = 2 : i32, value = 1 : i32}> : (index) -> ()
      "aie.end"() : () -> ()
    }) : (index) -> index
    "aie.end"() : () -> ()
  }) : () -> ()
}) : () -> ()
)";
  const Design design = parse_design(text);
  const DeviceDesign& device = design.devices.at(0);
  EXPECT_EQ(device.generation, Generation::kNpu1);
  EXPECT_EQ(device.locks.at(0).id, 3);
  EXPECT_EQ(device.buffers.at(0).size, 16u);
  EXPECT_EQ(device.buffers.at(0).address, 2048u);
  EXPECT_EQ(device.cores.at(0).program.instructions.at(0).opcode, Opcode::kLock);
}

TEST(Design, RejectsWhatExceedsTheArray) {
  const auto error = [](const std::string& body) { return parse_error(device_text(body)); };
  EXPECT_THAT(error("%t = aie.tile(4, 2)"), HasSubstr("outside the device's 4 columns"));
  EXPECT_THAT(error("%t = aie.tile(0, 2)\n%l = aie.lock(%t, 16)"), HasSubstr("from 0 to 15"));
  EXPECT_THAT(error("%t = aie.tile(0, 2)\n%b = aie.buffer(%t) : memref<65537xi8>"),
              HasSubstr("exceeds the 65536 bytes"));
  EXPECT_THAT(error("%t = aie.tile(0, 2)\n%a = aie.buffer(%t) : memref<40000xi8>\n"
                    "%b = aie.buffer(%t) : memref<40000xi8>"),
              HasSubstr("allocated buffers exceeded available memory"));
  EXPECT_THAT(error("%t = aie.tile(0, 2)\n%s = aie.tile(0, 0)\n"
                    "aie.flow(%s, DMA : 2, %t, DMA : 0)"),
              HasSubstr("DMA channels 0 to 1, not 2"));
  EXPECT_THAT(error("%a = aie.tile(0, 2)\n%b = aie.tile(1, 3)\naie.cascade_flow(%a, %b)"),
              HasSubstr("east or south"));
}

TEST(Design, RefusesWhatASwitchCannotConnect) {
  struct Case {
    const char *tile, *kind, *body, *message;
  };
  for (const Case& c : {
           Case{"0, 1", "switchbox", "aie.connect<North : 0, South : 0>", "no error"},
           Case{"0, 1", "switchbox", "aie.connect<North : 0, South : 1>",
                "the switch of tile (0, 1) has no way from North : 0 to South : 1"},
           Case{"0, 1", "switchbox", "aie.connect<DMA : 2, DMA : 3>", "from DMA : 2 to DMA : 3"},
           Case{"0, 1", "switchbox", "aie.connect<East : 0, DMA : 0>", "from East : 0"},
           Case{"1, 3", "switchbox", "aie.connect<East : 0, West : 3>", "no error"},
           Case{"0, 3", "switchbox", "aie.connect<South : 0, West : 0>", "to West : 0"},
           Case{"1, 5", "switchbox", "aie.connect<South : 0, North : 0>", "to North : 0"},
           Case{"1, 2", "switchbox", "aie.connect<South : 2, South : 3>", "to South : 3"},
           Case{"1, 2", "switchbox", "aie.connect<DMA : 0, DMA : 2>", "to DMA : 2"},
           Case{"1, 2", "switchbox", "aie.connect<Trace : 1, North : 0>", "from Trace : 1"},
           Case{"1, 0", "switchbox", "aie.connect<DMA : 0, North : 0>", "from DMA : 0"},
           Case{"1, 0", "shim_mux", "aie.connect<DMA : 0, North : 3>", "no error"},
           Case{"1, 0", "shim_mux", "aie.connect<DMA : 0, North : 4>", "the shim multiplexer"},
           Case{"1, 0", "shim_mux", "aie.connect<North : 3, DMA : 0>", "the shim multiplexer"},
           Case{"1, 2", "switchbox",
                "aie.connect<South : 0, DMA : 0>\naie.connect<North : 0, DMA : 0>",
                "output DMA : 0 of tile (1, 2) is connected already"},
           Case{"1, 2", "switchbox",
                "%a = aie.amsel<0> (0)\n%b = aie.amsel<1> (0)\n%m = aie.masterset(DMA : 0, %a, %b)",
                "packets from one arbiter only"},
           Case{"0, 1", "switchbox",
                "%a = aie.amsel<0> (0)\n%m = aie.masterset(North : 1, %a)\n"
                "aie.packet_rules(South : 3) {\naie.rule(31, 1, %a)\n}",
                "from South : 3 to North : 1"},
           Case{"0, 1", "switchbox", "%a = aie.amsel<6> (0)", "from 0 to 5"},
       })
    EXPECT_THAT(parse_error(device_text(fmt::format("%t = aie.tile({})\n%s = aie.{}(%t) {{\n{}\n}}",
                                                    c.tile, c.kind, c.body))),
                HasSubstr(c.message))
        << c.body;
  EXPECT_THAT(parse_error(device_text("%a = aie.tile(0, 2)\n%b = aie.tile(0, 3)\n"
                                      "aie.flow(%a, Core : 1, %b, DMA : 0)")),
              HasSubstr("no stream starts in tile (0, 2) by port Core : 1"));
}

TEST(Design, RefusesFifosAndTransfersTheArrayHasNot) {
  const std::string tiles =
      "%s = aie.tile(0, 0)\n%m = aie.tile(0, 1)\n%n = aie.tile(1, 1)\n"
      "%a = aie.tile(0, 2)\n%b = aie.tile(0, 3)\n%far = aie.tile(2, 4)\n"
      "%mine = aie.buffer(%m) : memref<64xi32>\n"
      "%next = aie.buffer(%n) : memref<64xi32>\n"
      "%lock = aie.lock(%n)\n";
  const auto fifo = [](const std::string& name, const std::string& ends,
                       const std::string& attributes = "") {
    return "aie.objectfifo @" + name + "(" + ends + ", 2 : i32) " + attributes +
           " : !aie.objectfifo<memref<16xi32>>\n";
  };
  const auto memcpy = [](const std::string& strides, const std::string& attributes) {
    return "aie.shim_dma_allocation @in (%s, MM2S, 0)\naie.runtime_sequence(%x : memref<64xi8>) {\n"
           "aiex.npu.dma_memcpy_nd(%x[0, 0, 0, 0][1, 1, 1, 64][" +
           strides + "]) {metadata = @in, id = 0 : i64" + attributes + "} : memref<64xi8>\n}";
  };
  const auto mem_dma = [](const std::string& channel, const std::string& descriptor) {
    return "%d = aie.memtile_dma(%m) {\n%0 = aie.dma(MM2S, " + channel + ") [{\n" + descriptor +
           "\n}]\naie.end\n}";
  };
  struct Case {
    std::string body;
    const char* message;
  };
  for (const Case& c : {
           Case{fifo("f", "%s, {%a}", "{plio = true}"), "no PL"},
           Case{fifo("f", "%a, {%b}") + "%v = aie.objectfifo.acquire @f(Produce, 1) : "
                                        "!aie.objectfifosubview<memref<16xi32>>",
                "must be inside an aie.core"},
           Case{fifo("f", "%a, {%b}") +
                    "aie.core(%a) {\n%v = aie.objectfifo.acquire @f(Produce, 1) : "
                    "!aie.objectfifosubview<memref<4x4xi32>>\naie.end\n}",
                "not of the FIFO's type"},
           Case{fifo("f", "%a, {%far}") + "aie.objectfifo.allocate @f(%a)", "travels by DMA"},
           Case{fifo("f", "%a, {%b}") + "aie.objectfifo.allocate @f(%a)\n"
                                        "aie.objectfifo.allocate @f(%b)",
                "has an aie.objectfifo.allocate already"},
           Case{fifo("f", "%s, {%a}") + fifo("g", "%a, {%b}") + fifo("h", "%b, {%far}") +
                    "aie.objectfifo.link [@f] -> [@g] ([] [])\n"
                    "aie.objectfifo.link [@g] -> [@h] ([] [])",
                "in more than one"},
           Case{fifo("f", "%s, {%m}") + fifo("g", "%m, {%a}") + fifo("h", "%m, {%b}") +
                    "aie.objectfifo.link [@f] -> [@g, @h] ([0, 8] [0, 8])",
                "needs 0 src_offsets, not 2"},
           Case{memcpy("0, 0, 2, 1", ""), "stride 1 of 2 elements of 8 bits"},
           Case{memcpy("0, 0, 0, 1", ", burst_length = 128 : i64"), "no error"},
           Case{memcpy("0, 0, 0, 1", ", burst_length = 100 : i64"),
                "burst length is 64, 128 or 256"},
           Case{memcpy("0, 0, 0, 1", ", packet = #aie.packet_info<pkt_type = 0, pkt_id = 32>"),
                "pkt_id is from 0 to 31"},
           Case{mem_dma("3", "aie.dma_bd(%next : memref<64xi32>)"), "no error"},
           Case{mem_dma("4", "aie.dma_bd(%next : memref<64xi32>)"), "cannot reach buffer '%next'"},
           Case{mem_dma("5",
                        "aie.use_lock(%lock, AcquireGreaterEqual, 1)\n"
                        "aie.dma_bd(%mine : memref<64xi32>)"),
                "cannot reach lock '%lock'"},
           Case{mem_dma("0",
                        "aie.dma_bd(%mine : memref<64xi32>, 0, 8, [<size = 2, stride = 4>], "
                        "[<const_pad_before = 4, const_pad_after = 4>])"),
                "the padded data exceeds the length of 8 elements"},
           Case{
               "aie.runtime_sequence() {\naiex.npu.writebd {bd_id = 0 : i32, column = 0 : i32, row "
               "= 0 : i32, d0_stride = 1048576 : i32, valid_bd = 1 : i32}\n}",
               "'d0_stride' of aiex.npu.writebd is 1048576; it must be from 0 to 1048575"},
       })
    EXPECT_THAT(parse_error(device_text(tiles + c.body)), HasSubstr(c.message)) << c.body;
}

TEST(Design, MissingChannelsAreCounted) {
  std::string body = "%s = aie.tile(0, 0)\n%m = aie.tile(0, 1)\n%c = aie.tile(0, 2)\n";
  for (int i = 0; i < 3; ++i)
    body += "aie.objectfifo @f" + std::to_string(i) +
            "(%m, {%c}, 2 : i32) : !aie.objectfifo<memref<8xi32>>\n";
  EXPECT_THAT(parse_error(device_text(body)),
              HasSubstr("number of input DMA channel exceeded: tile (0, 2) has 2"));
}

TEST(Registers, DescriptorsSurviveTheirWords) {
  BufferDescriptor d;
  d.valid = true;
  d.length = 4096;
  d.address = 0x81234;
  d.dimensions[0] = {56, 1};
  d.dimensions[1] = {61, 56};
  d.pad_before = {1, 2, 0};
  d.pad_after = {1, 1, 0};
  d.acquire_enabled = true;
  d.acquire_lock = 64;
  d.acquire_value = -1;
  d.release_lock = 65;
  d.release_value = 1;
  d.use_next = true;
  d.next = 24;
  const BufferDescriptor back =
      decode_descriptor(TileKind::kMem, encode_descriptor(TileKind::kMem, d));
  EXPECT_EQ(back.length, d.length);
  EXPECT_EQ(back.address, d.address);
  EXPECT_EQ(back.dimensions[1].size, 61u);
  EXPECT_EQ(back.dimensions[1].stride, 56u);
  EXPECT_EQ(back.pad_before, d.pad_before);
  EXPECT_EQ(back.pad_after, d.pad_after);
  EXPECT_EQ(back.acquire_value, -1);
  EXPECT_EQ(back.acquire_lock, 64);
  EXPECT_EQ(back.release_lock, 65);
  EXPECT_EQ(back.next, 24);
}

// The raw words of a public mem-tile test of mlir-aie: 4096 words, acquire lock 64 by at least 1,
// release lock 65 by 1, then descriptor 0 again.
TEST(Registers, DecodesAPublishedDescriptor) {
  const std::vector<uint32_t> words{4096, 0x80000, 0, 0, 0, 0, 0, 0x8141FF40};
  const BufferDescriptor d = decode_descriptor(TileKind::kMem, words);
  EXPECT_TRUE(d.valid);
  EXPECT_EQ(d.length, 4096u);
  EXPECT_EQ(d.address, 0u);
  EXPECT_TRUE(d.use_next);
  EXPECT_EQ(d.next, 0);
  EXPECT_EQ(d.acquire_lock, 64);
  EXPECT_EQ(d.acquire_value, -1);
  EXPECT_EQ(d.release_lock, 65);
  EXPECT_EQ(d.release_value, 1);
}

}  // namespace
}  // namespace tandem::npu
