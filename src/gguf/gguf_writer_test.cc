// SPDX-License-Identifier: Apache-2.0
#include "gguf/gguf_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/temporary_folder.h"

namespace tandem {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// A folder of its own for each test, removed afterwards.
class GgufWriterTest : public ::testing::Test {
 protected:
  static std::string text_of(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void expect_only(std::vector<std::string> names) const {
    std::vector<std::string> found;
    for (const auto& item : fs::directory_iterator(folder_.path()))
      found.push_back(item.path().filename().string());
    std::sort(found.begin(), found.end());
    EXPECT_EQ(found, names);
  }

  TemporaryFolder folder_;
  fs::path target_ = folder_ / "out.gguf";
};

std::vector<std::byte> bytes_of(size_t count, int first) {
  std::vector<std::byte> bytes(count);
  for (size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>(first + static_cast<int>(i));
  return bytes;
}

bool equal(std::span<const std::byte> got, const std::vector<std::byte>& want) {
  return std::equal(got.begin(), got.end(), want.begin(), want.end());
}

TEST_F(GgufWriterTest, WritesTheBytesOfTheSpecification) {
  GgufWriter writer(target_);
  writer.add_unsigned("n", 0x01020304);
  const size_t tensor = writer.add_tensor("t", DType::kI8, std::vector<uint64_t>{3});
  writer.start();
  writer.write(tensor, 0, bytes_of(3, 1));
  writer.finish();

  using namespace std::string_literals;
  const std::string want =
      "GGUF\3\0\0\0"
      "\1\0\0\0\0\0\0\0"                              // tensors
      "\1\0\0\0\0\0\0\0"                              // metadata entries
      "\1\0\0\0\0\0\0\0n\4\0\0\0\4\3\2\1"             // key, type, value
      "\1\0\0\0\0\0\0\0t\1\0\0\0\3\0\0\0\0\0\0\0"     // name, dimensions
      "\x18\0\0\0\0\0\0\0\0\0\0\0"                    // type, offset
      "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"  // 74 bytes so far; padding to 96
      "\1\2\3"
      "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"s;
  EXPECT_EQ(text_of(target_), want);
}

TEST_F(GgufWriterTest, WhatItWritesReadsBack) {
  GgufWriter writer(target_);
  writer.add_float("float", 0.5f);
  writer.add_bool("bool", true);
  writer.add_string("string", "a string");
  writer.add_strings("strings", std::vector<std::string_view>{"", "two"});
  writer.add_floats("floats", std::vector<float>{1.0f, -1.0f});
  writer.add_integers("integers", std::vector<int32_t>{-7});
  const size_t a = writer.add_tensor("a", DType::kQ4_0, std::vector<uint64_t>{64, 3});
  const size_t b = writer.add_tensor("b", DType::kF32, std::vector<uint64_t>{2, 1, 2});
  EXPECT_EQ(writer.tensor_size(), 108u + 16u);
  writer.start();
  writer.write(b, 0, bytes_of(16, 200));
  writer.write(a, 50, bytes_of(58, 50));
  writer.write(a, 0, bytes_of(50, 0));
  writer.finish();

  const GgufFile file = GgufFile::open(target_);
  EXPECT_EQ(file.version(), 3u);
  EXPECT_EQ(file.metadata().size(), 6u);
  EXPECT_EQ(file.get_number("float"), 0.5);
  EXPECT_EQ(file.get_bool("bool"), true);
  EXPECT_EQ(file.get_string("string"), "a string");
  EXPECT_EQ(*file.get_strings("strings"), (std::vector<std::string_view>{"", "two"}));
  EXPECT_EQ(*file.get_numbers("floats"), (std::vector<double>{1.0, -1.0}));
  EXPECT_EQ(*file.get_integers("integers"), (std::vector<int64_t>{-7}));
  ASSERT_EQ(file.tensors().size(), 2u);
  EXPECT_EQ(file.tensors()[1].dims, (std::array<uint64_t, 4>{2, 1, 2, 1}));
  EXPECT_TRUE(equal(file.tensors()[0].data, bytes_of(108, 0)));
  EXPECT_TRUE(equal(file.tensors()[1].data, bytes_of(16, 200)));
  expect_only({"out.gguf"});
}

TEST_F(GgufWriterTest, CopiesEntriesUnchanged) {
  {
    GgufWriter writer(target_);
    writer.add_strings("s", std::vector<std::string_view>{"x"});
    writer.add_unsigned("u", 3);
    writer.start();
    writer.finish();
  }
  const GgufFile first = GgufFile::open(target_);
  GgufWriter writer(folder_ / "copy.gguf");
  for (const GgufEntry& entry : first.entries()) writer.add_entry(entry);
  writer.start();
  writer.finish();
  EXPECT_EQ(text_of(folder_ / "copy.gguf"), text_of(target_));
}

TEST_F(GgufWriterTest, LeavesTheTargetAloneUntilItIsComplete) {
  std::ofstream(target_) << "old";
  fs::create_symlink("out.gguf", folder_ / "link");
  {
    GgufWriter writer(folder_ / "link");
    writer.add_tensor("t", DType::kI8, std::vector<uint64_t>{1});
    writer.start();
    EXPECT_EQ(text_of(target_), "old");
  }  // abandoned
  EXPECT_EQ(text_of(target_), "old");
  expect_only({"link", "out.gguf"});
  {
    GgufWriter writer(folder_ / "link");
    writer.start();
    writer.finish();
  }
  EXPECT_TRUE(fs::is_symlink(folder_ / "link"));
  EXPECT_EQ(text_of(target_).substr(0, 4), "GGUF");
  expect_only({"link", "out.gguf"});
}

TEST_F(GgufWriterTest, SaysWhyItCannotWrite) {
  struct {
    fs::path target;
    ErrorCode code;
    std::string_view message;
  } const cases[] = {
      {folder_ / "none" / "out.gguf", ErrorCode::kNotFound, "No such file or directory"},
      {folder_.path(), ErrorCode::kUsage, "is no regular file"},
      {"/dev/null", ErrorCode::kUsage, "is no regular file"},
  };
  for (const auto& c : cases) {
    GgufWriter writer(c.target);
    try {
      writer.start();
      FAIL() << c.target;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), c.code) << c.target;
      EXPECT_THAT(error.what(), HasSubstr(std::string(c.message)));
    }
  }
}

// The limit on file sizes stands for a full disk: the same call fails in the same place.
TEST_F(GgufWriterTest, AFullDiskLeavesNothingBehind) {
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit small = before;
  small.rlim_cur = 1 << 20;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  std::string message;
  try {
    GgufWriter writer(target_);
    writer.add_tensor("t", DType::kI8, std::vector<uint64_t>{2 << 20});
    writer.start();
  } catch (const Error& error) {
    message = error.what();
  }
  EXPECT_THAT(message, HasSubstr("cannot reserve"));
  EXPECT_THAT(message, HasSubstr("File too large"));

  AtomicFile file(target_, 0);
  EXPECT_THROW(file.write(1 << 20, bytes_of(1, 0)), Error);
  setrlimit(RLIMIT_FSIZE, &before);
  expect_only({});
}

}  // namespace
}  // namespace tandem
