// The reported errors against what the number formats must cost.
// SPDX-License-Identifier: Apache-2.0
#include "npu/npu_accuracy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json_value.h"
#include "npu/attention_layer.h"

namespace tandem::npu {
namespace {

using ::testing::HasSubstr;

LayerConfig small_layer() { return attention_layer(256, 4, 2, 64); }

NpuAccuracyReport small_report() {
  return make_accuracy_report("small", small_layer(), 2, Generation::kNpu1,
                              random_projections(small_layer()));
}

// An int8 activation is off by a uniform share of its step, s / sqrt(12), and the step is the
// group's largest of 32 normal values (2.07 on average) over 127: 0.47 % of the product. Integer
// scales add the same again for the row's largest activation and about as much for the weights.
TEST(NpuAccuracy, ErrorsAreThoseOfTheNumberFormats) {
  const NpuAccuracyReport report = small_report();
  ASSERT_EQ(report.rows.size(), 2u * 2 * 2);  // layers, ops, scales
  for (const NpuAccuracyRow& row : report.rows) {
    const bool exact = row.scales == ScaleMode::kExact;
    EXPECT_GT(row.error, 0.003) << row.layer;
    EXPECT_LT(row.error, exact ? 0.0065 : 0.012) << row.layer;
  }
}

TEST(NpuAccuracy, IsPrintedAsEmulated) {
  const NpuAccuracyReport report = small_report();
  EXPECT_THAT(to_text(report), HasSubstr("small on npu1, emulated"));
  const Json json = to_json(report);
  EXPECT_TRUE(json.at("emulated").get<bool>());
  EXPECT_EQ(json.at("rows").size(), report.rows.size());
  EXPECT_EQ(json.at("rows")[0].at("scales").get<std::string>(), "integer");
}

}  // namespace
}  // namespace tandem::npu
