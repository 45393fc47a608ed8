// Cost tables: lines between points, files, and files that are wrong.
// SPDX-License-Identifier: Apache-2.0
#include "hybrid/cost_table.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "base/error.h"
#include "hybrid/test_tables.h"

namespace tandem {
namespace {

PhaseCost grid() {
  return {{}, {{10, 0, 100, 1000}, {10, 8, 180, 1800}, {20, 0, 150, 1500}, {20, 8, 310, 3100}}};
}

TEST(PhaseCost, GivesItsPointsBack) {
  for (const CostPoint& point : grid().points) {
    EXPECT_DOUBLE_EQ(grid().at(point.rows, point.position).us, point.us);
    EXPECT_DOUBLE_EQ(grid().at(point.rows, point.position).bytes, point.bytes);
  }
}

TEST(PhaseCost, DrawsLinesBetweenAndBeyondPoints) {
  EXPECT_DOUBLE_EQ(grid().at(15, 0).us, 125);
  EXPECT_DOUBLE_EQ(grid().at(10, 4).us, 140);
  EXPECT_DOUBLE_EQ(grid().at(15, 4).us, 185);
  EXPECT_DOUBLE_EQ(grid().at(40, 0).us, 250);
  EXPECT_DOUBLE_EQ(grid().at(10, 16).us, 260);
}

TEST(PhaseCost, KeepsItsFixedPartBelowItsFirstRows) {
  EXPECT_DOUBLE_EQ(grid().at(5, 0).us, 75);
  EXPECT_DOUBLE_EQ(grid().at(5, 8).us, 115);
}

TEST(PhaseCost, IsNoLessThanProportionalBelowItsFirstRows) {
  const PhaseCost steep{{}, {{10, 0, 100, 100}, {20, 0, 400, 400}}};
  EXPECT_DOUBLE_EQ(steep.at(5, 0).us, 50);
  const PhaseCost falling{{}, {{10, 0, 100, 100}, {20, 0, 50, 50}}};
  EXPECT_DOUBLE_EQ(falling.at(5, 0).us, 100);
  const PhaseCost one{{}, {{4, 0, 8, 80}}};
  EXPECT_DOUBLE_EQ(one.at(6, 3).us, 12);
  EXPECT_DOUBLE_EQ(one.at(2, 3).bytes, 40);
}

TEST(PhaseCost, IsNeverNegative) {
  const PhaseCost falling{{}, {{1, 0, 100, 100}, {2, 0, 50, 50}}};
  EXPECT_EQ(falling.at(10, 0).us, 0);
}

TEST(CostTable, SurvivesItsFile) {
  RandomTables random(1);
  for (uint32_t i = 0; i < 20; ++i) {
    CostTable table = random.make(1 + i % 3, 2);
    table.predicted = i % 2 == 0;
    table.model.tied = i % 2 == 0;
    table.devices.back().memory_size = i;
    if (i % 3 == 1) table.contention.push_back({{0.5, 0.75}});
    const std::string text = format_cost_table(table);
    const CostTable read = parse_cost_table(text, "costs.json");
    EXPECT_EQ(format_cost_table(read), text);
    EXPECT_EQ(read.predicted, table.predicted);
    EXPECT_EQ(read.model.global, table.model.global);
    EXPECT_EQ(read.model.tied, table.model.tied);
    EXPECT_EQ(read.devices.back().memory_size, table.devices.back().memory_size);
    EXPECT_EQ(read.devices.back().launch_us, table.devices.back().launch_us);
    EXPECT_EQ(read.devices.back().wake_us, table.devices.back().wake_us);
  }
}

TEST(CostTable, ChunksAreTheRowsThatAllDevicesKnow) {
  RandomTables random(2);
  CostTable table = random.make(2, 1);
  EXPECT_EQ(table.chunks(), (std::vector<uint32_t>{1, 3}));
  PhaseCost& ffn = table.devices[0].node(NodeKind::kFfn).phase(Phase::kPrefill);
  ffn.points = {{3, 0, 1, 1}, {5, 0, 1, 1}};
  EXPECT_EQ(table.chunks(), (std::vector<uint32_t>{3}));
}

// A table's text with one piece replaced; returns the sentence that reading it throws.
std::string failure(const std::string& piece, const std::string& replacement) {
  RandomTables random(4);
  CostTable table = random.make(2, 1);
  table.devices[0].launch_us = 17.25;
  table.devices[0].pool = 0;
  std::string text = format_cost_table(table);
  const size_t at = text.find(piece);
  EXPECT_NE(at, std::string::npos) << piece;
  text.replace(at, piece.size(), replacement);
  try {
    parse_cost_table(text, "costs.json");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidFile);
    return error.what();
  }
  return "nothing was wrong";
}

TEST(CostTable, NamesThePlaceOfWhatIsWrong) {
  const std::string launch = "\"launch_us\":17.25";
  const std::pair<std::string, std::string> cases[] = {
      {"\"launch_us\":-1", "costs.json: /devices/0/launch_us is -1, expected 0 to"},
      {"\"launch_us\":1e15", "/devices/0/launch_us is 1000000000000000, expected"},
      {"\"launch_us\":\"fast\"", "/devices/0/launch_us is no number"},
      {"\"lunch_us\":1", "/devices/0 has an unknown member \"lunch_us\""},
  };
  for (const auto& [replacement, message] : cases)
    EXPECT_NE(failure(launch, replacement).find(message), std::string::npos)
        << failure(launch, replacement);
  EXPECT_NE(failure(",\"launch_us\":17.25", "").find("/devices/0 lacks \"launch_us\""),
            std::string::npos);
  EXPECT_NE(failure("\"memory\":\"host\"", "\"memory\":\"moon\"").find("is 'moon'"),
            std::string::npos);
  EXPECT_NE(failure("\"node\":\"qkv\"", "\"node\":\"kqv\"").find("is 'kqv', none of"),
            std::string::npos);
  EXPECT_NE(
      failure("\"weight_bytes\":{", "\"weight_bytes\":{\"qvk\":1,").find("/weight_bytes has more"),
      std::string::npos);
  EXPECT_NE(failure("\"rows\":3", "\"rows\":1").find("is out of order"), std::string::npos);
  EXPECT_NE(failure("\"rows\":3", "\"rows\":0").find("is 0, expected 1 to"), std::string::npos);
  EXPECT_NE(failure("\"rows\":3", "\"rows\":2.5").find("expected a whole number"),
            std::string::npos);
  EXPECT_NE(failure("\"name\":\"device1\"", "\"name\":\"device0\"").find("as an earlier device"),
            std::string::npos);
  EXPECT_NE(failure("\"from\":\"device1\"", "\"from\":\"device0\"").find("repeats"),
            std::string::npos);
  EXPECT_NE(failure("\"phase\":\"decode\"", "\"phase\":\"prefill\"").find("a second time"),
            std::string::npos);
}

}  // namespace
}  // namespace tandem
