// Errors, environment, JSON, byte reader and checks.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <set>

#include "base/byte_reader.h"
#include "base/check.h"
#include "base/env.h"
#include "base/error.h"
#include "base/json_value.h"

namespace tandem {
namespace {

// The code and message of what `action` throws.
template <typename Action>
std::pair<ErrorCode, std::string> error_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return {error.code(), error.what()};
  }
  ADD_FAILURE() << "no Error was thrown";
  return {};
}

TEST(Error, ContextIsPutInFront) {
  const Error error(ErrorCode::kNotFound, "no file a.gguf");
  const Error outer = error.while_doing("loading the model");
  EXPECT_EQ(outer.code(), ErrorCode::kNotFound);
  EXPECT_STREQ(outer.what(), "while loading the model: no file a.gguf");
}

TEST(Error, EveryKindHasItsExitCode) {
  EXPECT_EQ(exit_code(ErrorCode::kUsage), 2);
  EXPECT_EQ(exit_code(ErrorCode::kNotFound), 3);
  EXPECT_EQ(exit_code(ErrorCode::kInvalidFile), 4);
  EXPECT_EQ(exit_code(ErrorCode::kUnsupported), 5);
  EXPECT_EQ(exit_code(ErrorCode::kOutOfMemory), 6);
  EXPECT_EQ(exit_code(ErrorCode::kDeviceLost), 7);
  EXPECT_EQ(exit_code(ErrorCode::kTimeout), 7);
  EXPECT_EQ(exit_code(ErrorCode::kInternal), 70);
}

TEST(Check, FailureNamesPlaceConditionAndValues) {
  const int rows = 9;
  EXPECT_DEATH(TANDEM_CHECK(rows < 8, "%d rows, room for 8", rows),
               "base_test.cc:[0-9]+: check failed: rows < 8: 9 rows, room for 8");
}

TEST(Env, NamesAreUniqueAndPrefixed) {
  std::set<std::string_view> names;
  for (const EnvVariable& variable : env_variables()) {
    EXPECT_EQ(variable.name.substr(0, 7), "TANDEM_");
    EXPECT_FALSE(variable.help.empty()) << variable.name;
    EXPECT_TRUE(names.insert(variable.name).second) << variable.name;
  }
}

class EnvSet : public ::testing::Test {
 protected:
  void TearDown() override {
    unsetenv("TANDEM_CHECK");
    unsetenv("TANDEM_NO_SUCH_THING");
  }
};

TEST_F(EnvSet, EmptyReadsAsUnset) {
  setenv("TANDEM_CHECK", "", 1);
  EXPECT_EQ(env("TANDEM_CHECK"), std::nullopt);
  setenv("TANDEM_CHECK", "1", 1);
  EXPECT_EQ(env("TANDEM_CHECK"), "1");
}

TEST_F(EnvSet, FlagIsZeroOrOne) {
  EXPECT_FALSE(env_flag("TANDEM_CHECK"));
  setenv("TANDEM_CHECK", "0", 1);
  EXPECT_FALSE(env_flag("TANDEM_CHECK"));
  setenv("TANDEM_CHECK", "1", 1);
  EXPECT_TRUE(env_flag("TANDEM_CHECK"));
  setenv("TANDEM_CHECK", "yes", 1);
  const auto [code, message] = error_of([] { env_flag("TANDEM_CHECK"); });
  EXPECT_EQ(code, ErrorCode::kUsage);
  EXPECT_NE(message.find("TANDEM_CHECK=yes"), std::string::npos);
}

TEST_F(EnvSet, UnknownNameIsRefused) {
  check_env_names();
  setenv("TANDEM_NO_SUCH_THING", "1", 1);
  const auto [code, message] = error_of([] { check_env_names(); });
  EXPECT_EQ(code, ErrorCode::kUsage);
  EXPECT_NE(message.find("TANDEM_NO_SUCH_THING"), std::string::npos);
}

TEST(Json, KeepsTheOrderOfKeys) {
  const Json value = parse_json(R"({"z": 1, "a": [true, null]})", "x.json");
  EXPECT_EQ(to_text(value), R"({"z":1,"a":[true,null]})");
  EXPECT_EQ(to_text(value, true).substr(0, 10), "{\n  \"z\": 1");
}

TEST(Json, ErrorNamesFileLineAndColumn) {
  const auto [code, message] = error_of([] { parse_json("{\n  \"a\": ,\n}", "plan.json"); });
  EXPECT_EQ(code, ErrorCode::kInvalidFile);
  EXPECT_EQ(message.substr(0, 14), "plan.json:2:8:") << message;
}

TEST(Json, AnObjectHasEveryKeyOnce) {
  EXPECT_NO_THROW(parse_json(R"([{"a": 1}, {"a": {"a": 2}}])", "plan.json"));
  const auto [code, message] =
      error_of([] { parse_json(R"({"a": {"b": 1, "c": 2, "b": 3}})", "plan.json"); });
  EXPECT_EQ(code, ErrorCode::kInvalidFile);
  EXPECT_EQ(message.find("plan.json: /a/b is a key that its object has twice"), 0U) << message;
}

TEST(Json, ANumberBeyondADoubleIsRefusedWithItsPlace) {
  const auto [code, message] =
      error_of([] { parse_json(R"({"a": [[1], {"b": 2}, [3, 1e999]]})", "plan.json"); });
  EXPECT_EQ(code, ErrorCode::kInvalidFile);
  EXPECT_EQ(message.find("plan.json: /a/2/1 is a number too large"), 0U) << message;
}

TEST(Json, DeepNestingIsRefused) {
  EXPECT_NO_THROW(parse_json(std::string(60, '[') + std::string(60, ']'), "plan.json"));
  const auto [code, message] = error_of([] { parse_json(std::string(100, '['), "plan.json"); });
  EXPECT_EQ(code, ErrorCode::kInvalidFile);
  EXPECT_NE(message.find("deeper than 64 levels"), std::string::npos) << message;
}

TEST(Json, NothingFollowsAZeroByteUnseen) {
  const auto [code, message] =
      error_of([] { parse_json(std::string("{}\n\0{}", 6), "plan.json"); });
  EXPECT_EQ(code, ErrorCode::kInvalidFile);
  EXPECT_EQ(message, "plan.json:2:1: not valid JSON: a zero byte");
}

TEST(Json, MessagesQuoteNoLongText) {
  const auto [code, message] =
      error_of([] { parse_json("\"" + std::string(10000, 'x'), "plan.json"); });
  EXPECT_EQ(code, ErrorCode::kInvalidFile);
  EXPECT_LT(message.size(), 200U) << message;
}

TEST(Json, AFileThatIsNoneIsNotFound) {
  EXPECT_EQ(error_of([] { read_json("/nonexistent/plan.json"); }).first, ErrorCode::kNotFound);
  EXPECT_EQ(error_of([] { read_json("/"); }).first, ErrorCode::kNotFound);
}

TEST(Json, BytesThatAreNotUtf8AreReplaced) {
  EXPECT_EQ(to_text(Json("a\xFF")), "\"a\xEF\xBF\xBD\"");
}

TEST(ByteReader, ReadsLittleEndianInOrder) {
  const std::array<std::byte, 7> bytes = {std::byte{0x34}, std::byte{0x12}, std::byte{1},
                                          std::byte{0},    std::byte{0},    std::byte{0x80},
                                          std::byte{9}};
  ByteReader reader(bytes);
  EXPECT_EQ(reader.read<uint16_t>("magic"), 0x1234);
  EXPECT_EQ(reader.read<uint32_t>("count"), 0x80000001u);
  EXPECT_EQ(reader.offset(), 6u);
  EXPECT_EQ(reader.take(1, "tail")[0], std::byte{9});
  EXPECT_EQ(reader.remaining(), 0u);
}

TEST(ByteReader, ReadPastTheEndNamesOffsetAndField) {
  const std::array<std::byte, 6> bytes{};
  ByteReader reader(bytes);
  reader.read<uint32_t>("magic");
  const auto [code, message] = error_of([&] { reader.read<uint32_t>("version"); });
  EXPECT_EQ(code, ErrorCode::kInvalidFile);
  EXPECT_EQ(message, "offset 4: version needs 4 bytes but only 2 are left");
  EXPECT_EQ(reader.offset(), 4u);
}

TEST(ByteReader, SizeNearTheLargestIntegerDoesNotWrap) {
  const std::array<std::byte, 4> bytes{};
  ByteReader reader(bytes);
  reader.read<uint16_t>("magic");
  const auto [code, message] = error_of([&] { reader.take(~uint64_t{0}, "string"); });
  EXPECT_EQ(code, ErrorCode::kInvalidFile);
  EXPECT_NE(message.find("string"), std::string::npos);
}

}  // namespace
}  // namespace tandem
