// The fixtures are put together byte by byte from the GGUF specification, not by our writer.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "base/env.h"
#include "base/error.h"
#include "base/temporary_folder.h"
#include "gguf/gguf.h"
#include "tensor/quantize.h"

namespace tandem {
namespace {

using ::testing::HasSubstr;

// Little-endian bytes in the making.
class Bytes {
 public:
  Bytes& text(std::string_view value) {
    const auto raw = std::as_bytes(std::span(value));
    data_.insert(data_.end(), raw.begin(), raw.end());
    return *this;
  }
  Bytes& u8(uint8_t value) { return number(value); }
  Bytes& u32(uint32_t value) { return number(value); }
  Bytes& u64(uint64_t value) { return number(value); }
  template <typename T>
  Bytes& number(T value) {
    const auto raw = std::as_bytes(std::span(&value, 1));
    data_.insert(data_.end(), raw.begin(), raw.end());
    return *this;
  }
  // A GGUF string.
  Bytes& string(std::string_view value) { return u64(value.size()).text(value); }
  Bytes& zeros(size_t count) {
    data_.resize(data_.size() + count);
    return *this;
  }
  Bytes& append(const Bytes& other) {
    data_.insert(data_.end(), other.data_.begin(), other.data_.end());
    return *this;
  }
  Bytes& pad(size_t multiple) { return zeros((multiple - data_.size() % multiple) % multiple); }
  size_t size() const { return data_.size(); }
  std::span<const std::byte> span() const { return data_; }

 private:
  std::vector<std::byte> data_;
};

constexpr uint32_t kTypeU8 = 0, kTypeI8 = 1, kTypeU16 = 2, kTypeI16 = 3, kTypeU32 = 4, kTypeI32 = 5,
                   kTypeF32 = 6, kTypeBool = 7, kTypeString = 8, kTypeArray = 9, kTypeU64 = 10,
                   kTypeI64 = 11, kTypeF64 = 12;
constexpr uint32_t kTensorF32 = 0, kTensorQ4_0 = 2, kTensorQ3K = 11, kTensorQ4K = 12;

template <typename T>
Bytes entry(std::string_view key, uint32_t type, T value) {
  return Bytes().string(key).u32(type).number(value);
}

Bytes array_entry(std::string_view key, uint32_t type, uint64_t count) {
  return Bytes().string(key).u32(kTypeArray).u32(type).u64(count);
}

Bytes record(std::string_view name, const std::vector<uint64_t>& dims, uint32_t type,
             uint64_t offset) {
  Bytes bytes = Bytes().string(name).u32(static_cast<uint32_t>(dims.size()));
  for (uint64_t dim : dims) bytes.u64(dim);
  return bytes.u32(type).u64(offset);
}

// A file of these parts; the data section follows the padding.
Bytes file_of(const std::vector<Bytes>& entries, const std::vector<Bytes>& records,
              size_t data_size, uint32_t version = 3) {
  Bytes bytes = Bytes().text("GGUF").u32(version).u64(records.size()).u64(entries.size());
  for (const Bytes& e : entries) bytes.append(e);
  for (const Bytes& r : records) bytes.append(r);
  return data_size == 0 ? bytes : bytes.pad(32).zeros(data_size);
}

GgufFile parse(const Bytes& bytes) { return GgufFile::parse(bytes.span(), "fixture.gguf"); }

// Runs `action`, which must throw; returns the error.
Error error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return Error(ErrorCode::kInternal, "");
}

TEST(GgufReader, ReadsEveryKindOfValue) {
  const Bytes bytes = file_of(
      {entry("u8", kTypeU8, uint8_t{200}), entry("i8", kTypeI8, int8_t{-100}),
       entry("u16", kTypeU16, uint16_t{60000}), entry("i16", kTypeI16, int16_t{-30000}),
       entry("u32", kTypeU32, uint32_t{4000000000}), entry("i32", kTypeI32, int32_t{-2000000000}),
       entry("f32", kTypeF32, 1.5f), entry("bool", kTypeBool, uint8_t{1}),
       Bytes().string("string").u32(kTypeString).string("some text"),
       entry("u64", kTypeU64, ~uint64_t{0}), entry("i64", kTypeI64, int64_t{-5}),
       entry("f64", kTypeF64, 0.1)},
      {}, 0);
  const GgufFile file = parse(bytes);
  EXPECT_EQ(file.version(), 3u);
  EXPECT_EQ(file.name(), "fixture.gguf");
  EXPECT_EQ(file.file_size(), bytes.size());
  EXPECT_EQ(file.metadata().size(), 12u);
  EXPECT_EQ(file.get_unsigned("u8"), 200u);
  EXPECT_EQ(file.get_number("i8"), -100.0);
  EXPECT_EQ(file.get_unsigned("u16"), 60000u);
  EXPECT_EQ(file.get_number("i16"), -30000.0);
  EXPECT_EQ(file.get_unsigned("u32"), 4000000000u);
  EXPECT_EQ(file.get_number("i32"), -2000000000.0);
  EXPECT_EQ(file.get_number("f32"), 1.5);
  EXPECT_EQ(file.get_bool("bool"), true);
  EXPECT_EQ(file.get_string("string"), "some text");
  EXPECT_EQ(file.get_unsigned("u64"), ~uint64_t{0});
  EXPECT_EQ(file.get_number("i64"), -5.0);
  EXPECT_EQ(file.get_number("f64"), 0.1);
  EXPECT_EQ(file.get_number("u8"), 200.0);
}

TEST(GgufReader, ReadsEveryKindOfArray) {
  const Bytes bytes = file_of(
      {array_entry("u8", kTypeU8, 2).u8(1).u8(255),
       array_entry("i8", kTypeI8, 1).number(int8_t{-1}),
       array_entry("u16", kTypeU16, 1).number(uint16_t{65535}),
       array_entry("i16", kTypeI16, 1).number(int16_t{-2}), array_entry("u32", kTypeU32, 1).u32(7),
       array_entry("i32", kTypeI32, 2).number(int32_t{-3}).number(int32_t{4}),
       array_entry("f32", kTypeF32, 2).number(0.5f).number(-2.0f),
       array_entry("bool", kTypeBool, 3).u8(1).u8(0).u8(1),
       array_entry("strings", kTypeString, 3).string("a").string("").string("b\n"),
       array_entry("u64", kTypeU64, 1).u64(9), array_entry("i64", kTypeI64, 1).number(int64_t{-9}),
       array_entry("f64", kTypeF64, 1).number(0.25), array_entry("none", kTypeString, 0)},
      {}, 0);
  const GgufFile file = parse(bytes);
  const auto array = [&](std::string_view key) {
    return std::get<GgufArray>(file.metadata().find(key)->second);
  };
  EXPECT_EQ(array("u8"), GgufArray(std::vector<uint64_t>{1, 255}));
  EXPECT_EQ(array("i8"), GgufArray(std::vector<int64_t>{-1}));
  EXPECT_EQ(array("u16"), GgufArray(std::vector<uint64_t>{65535}));
  EXPECT_EQ(array("i16"), GgufArray(std::vector<int64_t>{-2}));
  EXPECT_EQ(array("u32"), GgufArray(std::vector<uint64_t>{7}));
  EXPECT_EQ(*file.get_integers("i32"), (std::vector<int64_t>{-3, 4}));
  EXPECT_EQ(*file.get_numbers("f32"), (std::vector<double>{0.5, -2.0}));
  EXPECT_EQ(array("bool"), GgufArray(std::vector<bool>{true, false, true}));
  EXPECT_EQ(*file.get_strings("strings"), (std::vector<std::string_view>{"a", "", "b\n"}));
  EXPECT_EQ(array("u64"), GgufArray(std::vector<uint64_t>{9}));
  EXPECT_EQ(array("i64"), GgufArray(std::vector<int64_t>{-9}));
  EXPECT_EQ(array("f64"), GgufArray(std::vector<double>{0.25}));
  EXPECT_TRUE(file.get_strings("none")->empty());
  // Strings are views into the bytes, not copies.
  const auto* first = reinterpret_cast<const std::byte*>(file.get_strings("strings")->at(0).data());
  EXPECT_TRUE(first > bytes.span().data() && first < bytes.span().data() + bytes.size());
}

TEST(GgufReader, LookUpsReportAnotherKindAndMissingKeys) {
  const Bytes bytes =
      file_of({entry("flag", kTypeBool, uint8_t{0}), entry("n", kTypeI32, -1),
               entry("f", kTypeF32, 1.0f), array_entry("list", kTypeI32, 1).number(int32_t{1})},
              {}, 0);
  const GgufFile file = parse(bytes);
  EXPECT_EQ(file.get_unsigned("no"), std::nullopt);
  EXPECT_EQ(file.get_number("no"), std::nullopt);
  EXPECT_EQ(file.get_bool("no"), std::nullopt);
  EXPECT_EQ(file.get_string("no"), std::nullopt);
  EXPECT_EQ(file.get_strings("no"), nullptr);
  EXPECT_EQ(file.get_numbers("no"), nullptr);
  EXPECT_EQ(file.get_integers("no"), nullptr);
  EXPECT_EQ(file.find_tensor("no"), nullptr);
  const std::vector<std::function<void()>> wrong = {
      [&] { file.get_unsigned("flag"); }, [&] { file.get_unsigned("n"); },
      [&] { file.get_unsigned("f"); },    [&] { file.get_number("flag"); },
      [&] { file.get_bool("n"); },        [&] { file.get_string("list"); },
      [&] { file.get_strings("list"); },  [&] { file.get_numbers("list"); },
      [&] { file.get_integers("f"); }};
  for (const auto& look_up : wrong) {
    const Error error = error_of(look_up);
    EXPECT_EQ(error.code(), ErrorCode::kInvalidFile);
    EXPECT_THAT(error.what(), HasSubstr("fixture.gguf: metadata"));
    EXPECT_THAT(error.what(), HasSubstr("expected"));
  }
}

TEST(GgufReader, KeepsEntriesAsStored) {
  const Bytes value = Bytes().u32(kTypeArray).u32(kTypeI32).u64(1).u32(17);
  const Bytes bytes =
      file_of({Bytes().string("z").append(value), entry("a", kTypeU16, uint16_t{3})}, {}, 0);
  const GgufFile file = parse(bytes);
  ASSERT_EQ(file.entries().size(), 2u);
  EXPECT_EQ(file.entries()[0].key, "z");
  ASSERT_EQ(file.entries()[0].bytes.size(), value.size());
  EXPECT_EQ(std::memcmp(file.entries()[0].bytes.data(), value.span().data(), value.size()), 0);
  EXPECT_EQ(file.entries()[1].key, "a");
  EXPECT_EQ(file.entries()[1].bytes.size(), 6u);
}

TEST(GgufReader, PlacesTensorsOfMixedTypesInVersions2And3) {
  for (uint32_t version : {2u, 3u}) {
    Bytes bytes = file_of({entry("general.alignment", kTypeU32, uint32_t{64})},
                          {record("q", {64, 2}, kTensorQ4_0, 64), record("f", {3}, kTensorF32, 0)},
                          0, version);
    bytes.pad(64);
    const size_t start = bytes.size();
    bytes.number(1.0f).number(2.0f).number(3.0f).pad(64).zeros(4 * 18);
    const GgufFile file = parse(bytes);
    EXPECT_EQ(file.version(), version);
    ASSERT_EQ(file.tensors().size(), 2u);
    EXPECT_EQ(file.tensors()[0].name, "q");
    const GgufTensor* f = file.find_tensor("f");
    ASSERT_NE(f, nullptr);
    EXPECT_EQ(f->dtype, DType::kF32);
    EXPECT_EQ(f->dims, (std::array<uint64_t, 4>{3, 1, 1, 1}));
    EXPECT_EQ(f->offset, start);
    ASSERT_EQ(f->data.size(), 12u);
    EXPECT_EQ(f->data.data(), bytes.span().data() + start);
    EXPECT_EQ(f->view().row_as<float>(0)[2], 3.0f);
    const TensorView q = file.find_tensor("q")->view();
    EXPECT_EQ(q.dtype, DType::kQ4_0);
    EXPECT_EQ(q.rows(), 2u);
    EXPECT_EQ(q.cols(), 64u);
    EXPECT_EQ(q.row(0, 1) - q.row(0, 0), 36);
    file.drop_pages(*f);  // bytes are not a mapping: nothing may happen
    EXPECT_EQ(f->view().row_as<float>(0)[0], 1.0f);
  }
}

TEST(GgufReader, ReadsEveryTensorType) {
  for (const DTypeInfo& info : dtype_infos()) {
    const Bytes bytes =
        file_of({}, {record("t", {256, 3}, static_cast<uint32_t>(info.gguf_type), 0)},
                256 * 3 / info.block_count * info.block_size);
    EXPECT_EQ(parse(bytes).tensors()[0].dtype, info.dtype) << info.name;
    EXPECT_EQ(parse(bytes).tensors()[0].data.size(), dtype_size(info.dtype, 768)) << info.name;
  }
}

struct Malformed {
  std::string_view what;
  Bytes bytes;
  ErrorCode code;
  std::string_view message;  // part of it
};

constexpr ErrorCode kInvalid = ErrorCode::kInvalidFile, kRefused = ErrorCode::kUnsupported;

std::vector<Malformed> malformed_headers() {
  const auto head = [](uint32_t version, uint64_t tensors, uint64_t entries) {
    return Bytes().text("GGUF").u32(version).u64(tensors).u64(entries);
  };
  return {
      {"nothing", Bytes(), kInvalid, "offset 0: the magic number needs 4 bytes"},
      {"other magic", Bytes().text("PK\x03\x04").zeros(60), kInvalid,
       "offset 0: not a GGUF file, it starts with \"PK??\""},
      {"version 0", head(0, 0, 0), kRefused, "version 0"},
      {"version 1", head(1, 0, 0), kRefused, "version 1"},
      {"version 4", head(4, 0, 0), kRefused, "version 4"},
      {"big-endian", Bytes().text("GGUF").u32(0x03000000).zeros(64), kRefused, "big-endian"},
      {"2^63 tensors", head(3, uint64_t{1} << 63, 0).zeros(64), kInvalid,
       "offset 8: 9223372036854775808 tensors do not fit"},
      {"2^63 entries", head(3, 0, uint64_t{1} << 63).zeros(64), kInvalid,
       "offset 16: 9223372036854775808 metadata entries do not fit"},
      {"one part of a split model", file_of({entry("split.count", kTypeU16, uint16_t{3})}, {}, 0),
       kRefused, "one of 3 parts"},
      {"alignment 0", file_of({entry("general.alignment", kTypeU32, uint32_t{0})}, {}, 0), kInvalid,
       "offset 49: alignment 0"},
      {"alignment 4", file_of({entry("general.alignment", kTypeU32, uint32_t{4})}, {}, 0), kInvalid,
       "alignment 4"},
      {"alignment 48", file_of({entry("general.alignment", kTypeU32, uint32_t{48})}, {}, 0),
       kInvalid, "alignment 48"},
      {"alignment 2^31", file_of({entry("general.alignment", kTypeU32, uint32_t{1} << 31)}, {}, 0),
       kInvalid, "alignment 2147483648"},
      {"alignment in words",
       file_of({Bytes().string("general.alignment").u32(kTypeString).string("32")}, {}, 0),
       kInvalid, "offset 49: \"general.alignment\" is no unsigned integer"},
  };
}

std::vector<Malformed> malformed_metadata() {
  return {
      {"empty key", file_of({entry("", kTypeU8, uint8_t{0})}, {}, 0), kInvalid, "key of 0 bytes"},
      {"endless key", file_of({Bytes().u64(~uint64_t{0}).zeros(16)}, {}, 0), kInvalid,
       "offset 32: a metadata key needs 18446744073709551615 bytes"},
      {"huge key", file_of({entry(std::string(65536, 'k'), kTypeU8, uint8_t{0})}, {}, 0), kInvalid,
       "key of 65536 bytes"},
      {"key twice",
       file_of({entry("a", kTypeU8, uint8_t{0}), entry("a", kTypeU8, uint8_t{1})}, {}, 0), kInvalid,
       "offset 38: metadata key \"a\" appears twice"},
      {"unknown value type", file_of({entry("a", 13, uint8_t{0})}, {}, 0), kInvalid,
       "offset 33: the value of \"a\" has type 13"},
      {"boolean 2", file_of({entry("a", kTypeBool, uint8_t{2})}, {}, 0), kInvalid,
       "offset 37: the value of \"a\" is 2"},
      {"control characters in a key", file_of({entry("a\x1b[2J", kTypeBool, uint8_t{2})}, {}, 0),
       kInvalid, "\"a?[2J\""},
      {"endless string", file_of({Bytes().string("a").u32(kTypeString).u64(1u << 30)}, {}, 0),
       kInvalid, "needs 1073741824 bytes"},
      {"array of unknown type", file_of({array_entry("a", 99, 0)}, {}, 0), kInvalid,
       "array of type 99"},
      {"array of arrays", file_of({array_entry("a", kTypeArray, 0)}, {}, 0), kRefused,
       "array of arrays"},
      {"array of 2^62 numbers", file_of({array_entry("a", kTypeU64, uint64_t{1} << 62)}, {}, 0),
       kInvalid, "an array of 4611686018427387904 elements"},
      {"array of 2^24 numbers in no bytes",
       file_of({array_entry("a", kTypeU64, uint64_t{1} << 24)}, {}, 0), kInvalid,
       "needs 134217728 bytes but only 0 are left"},
      {"array of 2^24 booleans in no bytes",
       file_of({array_entry("a", kTypeBool, uint64_t{1} << 24)}, {}, 0), kInvalid,
       "needs 16777216 bytes"},
      {"array of 2^24 strings in no bytes",
       file_of({array_entry("a", kTypeString, uint64_t{1} << 24)}, {}, 0), kInvalid,
       "needs 134217728 bytes"},
      {"arrays that are too long together",
       file_of({array_entry("a", kTypeU8, 1).u8(0), array_entry("b", kTypeU8, uint64_t{1} << 24)},
               {}, 0),
       kInvalid, "more than a file may have"},
  };
}

std::vector<Malformed> malformed_tensors() {
  const std::string long_name(65, 'n');
  const uint64_t gi = uint64_t{1} << 30;
  const auto one = [](const Bytes& r) { return file_of({}, {r}, 64); };
  return {
      {"name too long", one(record(long_name, {1}, kTensorF32, 0)), kInvalid, "name of 65 bytes"},
      {"no dimensions", one(record("t", {}, kTensorF32, 0)), kInvalid, "has 0 dimensions"},
      {"five dimensions", one(record("t", {1, 1, 1, 1, 1}, kTensorF32, 0)), kInvalid,
       "offset 33: tensor \"t\" has 5 dimensions"},
      {"2^32 - 1 dimensions", one(Bytes().string("t").u32(~0u).zeros(64)), kInvalid,
       "4294967295 dimensions"},
      {"dimension 0", one(record("t", {4, 0}, kTensorF32, 0)), kInvalid,
       "offset 45: tensor \"t\" has a dimension of 0"},
      {"dimension 2^32", one(record("t", {uint64_t{1} << 32}, kTensorF32, 0)), kInvalid,
       "dimension of 4294967296"},
      {"2^90 elements", one(record("t", {gi, gi, gi}, kTensorF32, 0)), kInvalid, "2^60 elements"},
      {"2^60 elements", one(record("t", {gi, gi}, kTensorF32, 0)), kInvalid, "past the end"},
      {"half a block", one(record("t", {48}, kTensorQ4_0, 0)), kInvalid,
       "offset 24: tensor \"t\" has rows of 48 elements"},
      {"half a super-block", one(record("t", {128}, kTensorQ4K, 0)), kInvalid, "blocks of 256"},
      {"type not read", one(record("blk.0.up", {256}, kTensorQ3K, 0)), kRefused,
       "tensor \"blk.0.up\" has type q3_k"},
      {"unknown type", one(record("t", {256}, 77, 0)), kInvalid, "type 77, which is unknown"},
      {"misaligned", one(record("t", {4}, kTensorF32, 16)), kInvalid,
       "offset 49: tensor \"t\" starts at 16"},
      {"past the end", one(record("t", {17}, kTensorF32, 0)), kInvalid,
       "offset 49: tensor \"t\" of 68 bytes at 0 of the data reaches past the end"},
      {"far past the end", one(record("t", {1}, kTensorF32, ~uint64_t{31})), kInvalid,
       "past the end"},
      {"no data at all", file_of({}, {record("t", {1}, kTensorF32, 0)}, 0), kInvalid,
       "the data has 0 bytes"},
      {"name twice",
       file_of({}, {record("t", {1}, kTensorF32, 0), record("t", {1}, kTensorF32, 32)}, 64),
       kInvalid, "offset 57: tensor \"t\" appears twice"},
      {"overlap",
       file_of({}, {record("b", {8}, kTensorF32, 32), record("a", {9}, kTensorF32, 0)}, 64),
       kInvalid, "offset 49: tensor \"b\" overlaps tensor \"a\""},
      {"same place",
       file_of({}, {record("a", {1}, kTensorF32, 0), record("b", {1}, kTensorF32, 0)}, 64),
       kInvalid, "overlaps"},
  };
}

void expect_refused(const std::vector<Malformed>& cases) {
  for (const Malformed& c : cases) {
    SCOPED_TRACE(c.what);
    const Error error = error_of([&] { parse(c.bytes); });
    EXPECT_EQ(error.code(), c.code);
    EXPECT_THAT(error.what(), HasSubstr(std::string(c.message)));
    EXPECT_THAT(error.what(), ::testing::StartsWith("fixture.gguf: "));
  }
}

TEST(GgufReader, RefusesMalformedHeaders) { expect_refused(malformed_headers()); }
TEST(GgufReader, RefusesMalformedMetadata) { expect_refused(malformed_metadata()); }
TEST(GgufReader, RefusesMalformedTensors) { expect_refused(malformed_tensors()); }

TEST(GgufReader, RefusesTruncationAtEveryByte) {
  const Bytes bytes = file_of(
      {entry("n", kTypeU32, uint32_t{1}), array_entry("s", kTypeString, 2).string("a").string("bc"),
       array_entry("f", kTypeF32, 2).number(1.0f).number(2.0f),
       array_entry("b", kTypeBool, 2).u8(0).u8(1)},
      {record("t", {32, 2}, kTensorQ4_0, 0), record("u", {2}, kTensorF32, 64)}, 72);
  parse(bytes);
  for (size_t size = 0; size < bytes.size(); ++size) {
    // A copy of exactly this size, so that a sanitizer sees a read past it.
    const std::vector<std::byte> part(bytes.span().begin(),
                                      bytes.span().begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_EQ(error_of([&] { GgufFile::parse(part, "part"); }).code(), ErrorCode::kInvalidFile)
        << size;
  }
}

// A folder of its own for each test, removed afterwards.
class GgufFileOnDisk : public ::testing::Test {
 protected:
  std::filesystem::path write(std::string_view name, const Bytes& bytes) const {
    const auto path = folder_ / name;
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.span().data()),
               static_cast<std::streamsize>(bytes.size()));
    return path;
  }

  TemporaryFolder folder_;
};

TEST_F(GgufFileOnDisk, OpensThroughALinkAndOutlivesTheName) {
  const auto path = write("m.gguf", file_of({}, {record("t", {2}, kTensorF32, 0)}, 8));
  std::filesystem::create_symlink(path, folder_ / "link");
  GgufFile file = GgufFile::open(folder_ / "link");
  std::filesystem::remove(path);
  const GgufFile moved = std::move(file);
  EXPECT_EQ(moved.find_tensor("t")->view().row_as<float>(0)[1], 0.0f);
}

TEST_F(GgufFileOnDisk, DroppedPagesAreReadAgain) {
  Bytes bytes = file_of({}, {record("t", {5000}, kTensorF32, 0)}, 0).pad(32);
  for (int i = 0; i < 5000; ++i) bytes.number(static_cast<float>(i));
  const GgufFile file = GgufFile::open(write("m.gguf", bytes));
  const float* values = file.tensors()[0].view().row_as<float>(0);
  EXPECT_EQ(values[4999], 4999.0f);
  file.drop_pages(file.tensors()[0]);
  EXPECT_EQ(values[0], 0.0f);
  EXPECT_EQ(values[4999], 4999.0f);
}

TEST_F(GgufFileOnDisk, SaysWhatIsInTheWay) {
  const auto pipe = folder_ / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  struct {
    std::filesystem::path path;
    ErrorCode code;
    std::string_view message;
  } const cases[] = {
      {folder_ / "none", ErrorCode::kNotFound, "no such file: "},
      {folder_ / "none" / "x", ErrorCode::kNotFound, "no such file: "},
      {folder_.path(), ErrorCode::kNotFound, "is a folder"},
      {pipe, ErrorCode::kNotFound, "is no regular file"},
      {folder_ / std::string(300, 'x'), ErrorCode::kNotFound, "cannot open "},
      {write("empty", Bytes()), ErrorCode::kInvalidFile, "is empty"},
      {write("text", Bytes().text("hello")), ErrorCode::kInvalidFile, "offset 0: not a GGUF file"},
  };
  for (const auto& c : cases) {
    const Error error = error_of([&] { GgufFile::open(c.path); });
    EXPECT_EQ(error.code(), c.code) << c.path;
    EXPECT_THAT(error.what(), HasSubstr(std::string(c.message)));
    EXPECT_THAT(error.what(), HasSubstr(c.path.string()));
  }
}

// Files of llama.cpp's own tools, where they are at hand.
TEST(GgufReader, ReadsTheTestModels) {
  const std::filesystem::path models =
      std::filesystem::path(env("TANDEM_TEST_ASSETS").value_or("../shared")) / "models";
  if (!std::filesystem::is_directory(models)) GTEST_SKIP() << "no models in " << models;
  size_t count = 0;
  for (const auto& item : std::filesystem::directory_iterator(models)) {
    if (item.path().extension() != ".gguf") continue;
    SCOPED_TRACE(item.path());
    const GgufFile file = GgufFile::open(item.path());
    ++count;
    EXPECT_FALSE(file.metadata().empty());
    for (const GgufTensor& tensor : file.tensors()) {
      const TensorView view = tensor.view();
      std::vector<float> row(view.cols());
      dequantize_row(view.dtype, view.row(0, view.rows() - 1), row.data(), row.size());
      for (float value : row) ASSERT_LT(std::abs(value), 1000.0f) << tensor.name;
    }
  }
  EXPECT_GT(count, 0u);
}

}  // namespace
}  // namespace tandem
