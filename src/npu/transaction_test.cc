// The binary form, word for word as mlir-aie's AIETargetNPU.cpp writes it, and its refusal of
// streams that are not.
// SPDX-License-Identifier: Apache-2.0
#include "npu/transaction.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace tandem::npu {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using Kind = ControllerInstruction::Kind;

Design design_with(std::vector<ControllerInstruction> sequence,
                   Generation generation = Generation::kNpu1, int columns = 4) {
  Design design;
  design.devices.emplace_back();
  design.devices[0].generation = generation;
  design.devices[0].columns = columns;
  design.sequence = std::move(sequence);
  return design;
}

// Words after the header.
std::vector<uint32_t> records(std::vector<ControllerInstruction> sequence) {
  const std::vector<uint32_t> words = encode_transaction(design_with(std::move(sequence)));
  return {words.begin() + 4, words.end()};
}

TEST(Transaction, HeaderNamesTheArray) {
  EXPECT_THAT(encode_transaction(design_with({})), ElementsAre(0x06030100, 0x0104, 0, 16));
  EXPECT_THAT(encode_transaction(design_with({}, Generation::kNpu2, 8)),
              ElementsAre(0x06040100, 0x0108, 0, 16));
}

TEST(Transaction, Write32TakesSixWords) {
  ControllerInstruction write;
  write.address = 0x0601D204;
  write.value = 0x80030001;
  EXPECT_THAT(records({write}), ElementsAre(0, 0, 0x0601D204, 0, 0x80030001, 24));
}

TEST(Transaction, MaskWriteTakesSevenWords) {
  ControllerInstruction write;
  write.kind = Kind::kMaskWrite32;
  write.address = 0x32000;
  write.value = 1;
  write.mask = 3;
  EXPECT_THAT(records({write}), ElementsAre(3, 0, 0x32000, 0, 1, 3, 28));
}

TEST(Transaction, BlockWriteCarriesItsTileAndSize) {
  ControllerInstruction write;
  write.kind = Kind::kBlockWrite;
  write.address = 3u << 25 | 1u << 20 | 0xA0000;
  write.words = {4096, 0x80000};
  EXPECT_THAT(records({write}), ElementsAre(1, 0x0103, 0x061A0000, 24, 4096, 0x80000));
}

TEST(Transaction, SyncNamesChannelAndTiles) {
  ControllerInstruction sync;
  sync.kind = Kind::kSync;
  sync.tile = {3, 1};
  sync.direction = DmaDirection::kMM2S;
  sync.channel = 1;
  EXPECT_THAT(records({sync}), ElementsAre(0x80, 16, 0x00030101, 0x01010100));
}

TEST(Transaction, HostAddressTakesTwelveWords) {
  ControllerInstruction patch;
  patch.kind = Kind::kAddressPatch;
  patch.address = 0x1D004;
  patch.argument = 2;
  patch.addend = 0x100000010;
  EXPECT_THAT(records({patch}),
              ElementsAreArray({0x81, 48, 0, 0, 0, 0, 0x1D004, 0, 2, 0, 0x10, 1}));
}

TEST(Transaction, DecodesWhatItEncodes) {
  ControllerInstruction write, block, mask, patch, sync, load, preempt;
  write.address = 0x1D200;
  write.value = 7;
  block.kind = Kind::kBlockWrite;
  block.address = 0x1D000;
  block.words = {1, 2, 3, 4, 5, 6, 7, 8};
  mask.kind = Kind::kMaskWrite32;
  mask.mask = 0xF0;
  patch.kind = Kind::kAddressPatch;
  patch.argument = 4;
  patch.addend = 0x123456789;
  sync.kind = Kind::kSync;
  sync.tile = {2, 0};
  sync.column_count = 2;
  load.kind = Kind::kLoadDevice;
  load.device = 1;
  preempt.kind = Kind::kPreempt;
  const std::vector<ControllerInstruction> sequence = {write, block, mask,   patch,
                                                       sync,  load,  preempt};
  const Transaction decoded = decode_transaction(encode_transaction(design_with(sequence)));
  EXPECT_EQ(decoded.generation, 3u);
  EXPECT_EQ(decoded.columns, 4u);
  EXPECT_EQ(decoded.rows, 6u);
  ASSERT_EQ(decoded.instructions.size(), sequence.size());
  for (size_t i = 0; i < sequence.size(); ++i) {
    const ControllerInstruction& got = decoded.instructions[i];
    EXPECT_EQ(got.kind, sequence[i].kind) << i;
    EXPECT_EQ(got.address, sequence[i].address) << i;
    EXPECT_EQ(got.value, sequence[i].value) << i;
    EXPECT_EQ(got.mask, sequence[i].mask) << i;
    EXPECT_EQ(got.words, sequence[i].words) << i;
    EXPECT_EQ(got.argument, sequence[i].argument) << i;
    EXPECT_EQ(got.addend, sequence[i].addend) << i;
    EXPECT_EQ(got.tile, sequence[i].tile) << i;
    EXPECT_EQ(got.column_count, sequence[i].column_count) << i;
    EXPECT_EQ(got.device, sequence[i].device) << i;
  }
}

std::string refusal(const std::vector<uint32_t>& words) {
  try {
    decode_transaction(words);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidFile);
    return error.what();
  }
  return "accepted";
}

TEST(Transaction, RefusesBrokenStreams) {
  ControllerInstruction write, block;
  block.kind = Kind::kBlockWrite;
  block.words = {1, 2};
  const std::vector<uint32_t> good = encode_transaction(design_with({write, block}));
  EXPECT_EQ(refusal(good), "accepted");

  std::vector<uint32_t> words = good;
  words[0] = 0x06030001;
  EXPECT_THAT(refusal(words), HasSubstr("version"));
  words = good;
  words[3] += 4;
  EXPECT_THAT(refusal(words), HasSubstr("byte 12"));
  words = good;
  words[2] = 3;
  EXPECT_THAT(refusal(words), HasSubstr("3 records"));
  words = good;
  words[4] = 0x55;
  EXPECT_THAT(refusal(words), HasSubstr("unknown record 0x55"));
  words = good;
  words[9] = 28;  // the write32's size
  EXPECT_THAT(refusal(words), HasSubstr("byte 16"));
  words = good;
  words[13] = 4000;  // the block write's size
  EXPECT_THAT(refusal(words), HasSubstr("byte 40"));
}

TEST(Transaction, RefusesEveryTruncation) {
  ControllerInstruction write, patch;
  patch.kind = Kind::kAddressPatch;
  std::vector<uint32_t> words = encode_transaction(design_with({write, patch, write}));
  while (!words.empty()) {
    words.pop_back();
    EXPECT_NE(refusal(words), "accepted");
    if (words.size() < 4) continue;
    // A header that agrees with the cut length must not make it whole.
    const uint32_t size = words[3];
    words[3] = static_cast<uint32_t>(words.size() * 4);
    EXPECT_NE(refusal(words), "accepted");
    words[3] = size;
  }
}

}  // namespace
}  // namespace tandem::npu
