// SPDX-License-Identifier: Apache-2.0
#include "npu/transaction.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/error.h"
#include "npu/geometry.h"

namespace tandem::npu {
namespace {

using Kind = ControllerInstruction::Kind;

enum class Record : uint8_t {
  kWrite32 = 0x00,
  kBlockWrite = 0x01,
  kMaskWrite32 = 0x03,
  kPreempt = 0x06,
  kLoadPdi = 0x08,
  kSync = 0x80,
  kAddressPatch = 0x81,
};

constexpr uint32_t kHeaderWords = 4;
constexpr uint32_t kVersion = 0x0100;  // minor 1, major 0

// Words of a record of fixed length, and which of them holds its size in bytes (0: none).
struct RecordShape {
  Record record;
  uint32_t words, size_word;
};
constexpr RecordShape kShapes[] = {{Record::kWrite32, 6, 5},      {Record::kBlockWrite, 4, 3},
                                   {Record::kMaskWrite32, 7, 6},  {Record::kPreempt, 1, 0},
                                   {Record::kLoadPdi, 4, 0},      {Record::kSync, 4, 1},
                                   {Record::kAddressPatch, 12, 1}};

const RecordShape* find_shape(uint32_t opcode) {
  const auto* shape = std::find_if(std::begin(kShapes), std::end(kShapes), [&](const auto& row) {
    return static_cast<uint32_t>(row.record) == opcode;
  });
  return shape == std::end(kShapes) ? nullptr : shape;
}

Record record_of(Kind kind) {
  switch (kind) {
    case Kind::kWrite32: return Record::kWrite32;
    case Kind::kMaskWrite32: return Record::kMaskWrite32;
    case Kind::kBlockWrite: return Record::kBlockWrite;
    case Kind::kAddressPatch: return Record::kAddressPatch;
    case Kind::kSync: return Record::kSync;
    case Kind::kLoadDevice: return Record::kLoadPdi;
    case Kind::kPreempt: return Record::kPreempt;
  }
  TANDEM_CHECK(false, "instruction kind %d", static_cast<int>(kind));
}

uint32_t low(uint64_t value) { return static_cast<uint32_t>(value); }
uint32_t high(uint64_t value) { return static_cast<uint32_t>(value >> 32); }
uint32_t byte_at(int value, int shift) { return static_cast<uint32_t>(value & 0xFF) << shift; }
int byte_of(uint32_t word, int shift) { return static_cast<int>(word >> shift & 0xFF); }

// `words` are the record's own, zeroed, the opcode and the size already set.
void encode(const ControllerInstruction& instruction, std::span<uint32_t> words) {
  switch (instruction.kind) {
    case Kind::kWrite32:
      words[2] = instruction.address;
      words[4] = instruction.value;
      return;
    case Kind::kMaskWrite32:
      words[2] = instruction.address;
      words[4] = instruction.value;
      words[5] = instruction.mask;
      return;
    case Kind::kBlockWrite:
      words[1] = (instruction.address >> 25 & 0x7F) | (instruction.address >> 20 & 0x1F) << 8;
      words[2] = instruction.address;
      std::copy(instruction.words.begin(), instruction.words.end(), words.begin() + 4);
      return;
    case Kind::kAddressPatch:
      words[6] = instruction.address;
      words[8] = static_cast<uint32_t>(instruction.argument);
      words[10] = low(instruction.addend);
      words[11] = high(instruction.addend);
      return;
    case Kind::kSync:
      words[2] = byte_at(static_cast<int>(instruction.direction), 0) |
                 byte_at(instruction.tile.row, 8) | byte_at(instruction.tile.column, 16);
      words[3] = byte_at(instruction.row_count, 8) | byte_at(instruction.column_count, 16) |
                 byte_at(instruction.channel, 24);
      return;
    case Kind::kLoadDevice: words[0] |= static_cast<uint32_t>(instruction.device) << 16; return;
    case Kind::kPreempt: return;
  }
}

ControllerInstruction decode(Record record, std::span<const uint32_t> words) {
  ControllerInstruction instruction;
  switch (record) {
    case Record::kWrite32:
      instruction.kind = Kind::kWrite32;
      instruction.address = words[2];
      instruction.value = words[4];
      break;
    case Record::kMaskWrite32:
      instruction.kind = Kind::kMaskWrite32;
      instruction.address = words[2];
      instruction.value = words[4];
      instruction.mask = words[5];
      break;
    case Record::kBlockWrite:
      instruction.kind = Kind::kBlockWrite;
      instruction.address = words[2];
      instruction.words.assign(words.begin() + 4, words.end());
      break;
    case Record::kAddressPatch:
      instruction.kind = Kind::kAddressPatch;
      instruction.address = words[6];
      instruction.argument = static_cast<int>(words[8]);
      instruction.addend = words[10] | uint64_t{words[11]} << 32;
      break;
    case Record::kSync:
      instruction.kind = Kind::kSync;
      instruction.direction = static_cast<DmaDirection>(words[2] & 1);
      instruction.tile = {byte_of(words[2], 16), byte_of(words[2], 8)};
      instruction.row_count = byte_of(words[3], 8);
      instruction.column_count = byte_of(words[3], 16);
      instruction.channel = byte_of(words[3], 24);
      break;
    case Record::kLoadPdi:
      instruction.kind = Kind::kLoadDevice;
      instruction.device = static_cast<int>(words[0] >> 16);
      break;
    case Record::kPreempt: instruction.kind = Kind::kPreempt; break;
  }
  return instruction;
}

[[noreturn]] void fail(size_t word, const std::string& what) {
  throw Error(ErrorCode::kInvalidFile,
              fmt::format("instruction stream, byte {}: {}", word * kWordSize, what));
}

// The words of the record that starts at `position`, its length and size word checked.
std::span<const uint32_t> record_at(std::span<const uint32_t> words, size_t position) {
  const RecordShape* shape = find_shape(words[position] & 0xFF);
  if (shape == nullptr) fail(position, fmt::format("unknown record {:#x}", words[position] & 0xFF));
  const size_t left = words.size() - position;
  if (left < shape->words)
    fail(position, fmt::format("a record of {} words, but only {} are left", shape->words, left));
  size_t count = shape->words;
  if (shape->size_word != 0) {
    const uint32_t size = words[position + shape->size_word];
    const bool variable = shape->record == Record::kBlockWrite;
    if (size % kWordSize != 0 || size / kWordSize > left || size / kWordSize < count ||
        (!variable && size / kWordSize != count))
      fail(position,
           fmt::format("record {:#x} gives its size as {} bytes", words[position] & 0xFF, size));
    count = size / kWordSize;
  }
  return words.subspan(position, count);
}

}  // namespace

std::vector<uint32_t> encode_transaction(const Design& design) {
  const DeviceDesign& device = design.devices.at(static_cast<size_t>(design.main_device));
  const Geometry& geometry = geometry_of(device.generation);
  std::vector<uint32_t> words(kHeaderWords);
  for (const ControllerInstruction& instruction : design.sequence) {
    const Record record = record_of(instruction.kind);
    const RecordShape* shape = find_shape(static_cast<uint32_t>(record));
    const size_t first = words.size();
    const size_t count = shape->words + instruction.words.size();
    words.resize(first + count);
    words[first] = static_cast<uint32_t>(record);
    if (shape->size_word != 0)
      words[first + shape->size_word] = static_cast<uint32_t>(count * kWordSize);
    encode(instruction, std::span(words).subspan(first));
  }
  words[0] = static_cast<uint32_t>(geometry.rows) << 24 |
             static_cast<uint32_t>(geometry.transaction_generation) << 16 | kVersion;
  words[1] = 1u << 8 | static_cast<uint32_t>(device.columns);
  words[2] = static_cast<uint32_t>(design.sequence.size());
  words[3] = static_cast<uint32_t>(words.size() * kWordSize);
  return words;
}

Transaction decode_transaction(std::span<const uint32_t> words) {
  if (words.size() < kHeaderWords)
    fail(0, fmt::format("{} words, fewer than the header's {}", words.size(), kHeaderWords));
  if ((words[0] & 0xFFFF) != kVersion)
    fail(0, fmt::format("version {}.{}, expected 0.1", words[0] & 0xFF, words[0] >> 8 & 0xFF));
  if (words[3] != words.size() * kWordSize)
    fail(3,
         fmt::format("the header says {} bytes, there are {}", words[3], words.size() * kWordSize));
  Transaction transaction;
  transaction.rows = words[0] >> 24;
  transaction.generation = words[0] >> 16 & 0xFF;
  transaction.columns = words[1] & 0xFF;
  transaction.memory_tile_rows = words[1] >> 8 & 0xFF;
  for (size_t position = kHeaderWords; position < words.size();) {
    const std::span<const uint32_t> record = record_at(words, position);
    transaction.instructions.push_back(decode(static_cast<Record>(record[0] & 0xFF), record));
    position += record.size();
  }
  if (transaction.instructions.size() != words[2])
    fail(2, fmt::format("the header says {} records, there are {}", words[2],
                        transaction.instructions.size()));
  return transaction;
}

}  // namespace tandem::npu
