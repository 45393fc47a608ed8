// The report's figures hang together, and agree with what is published about the array.
// SPDX-License-Identifier: Apache-2.0
#include "npu/npu_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json_value.h"
#include "npu/attention_layer.h"

namespace tandem::npu {
namespace {

using ::testing::HasSubstr;

// The attention of Gemma 3 4B and 27B.
LayerConfig layer_4b() { return attention_layer(2560, 8, 4, 256); }
LayerConfig layer_27b() { return attention_layer(5376, 32, 16, 128); }

const NpuReport& report_4b() {
  static const NpuReport report = make_npu_report("4b", layer_4b(), 34, {});
  return report;
}

const NpuOpReport& find(const NpuReport& report, Op op, Phase phase, double clock) {
  for (const NpuOpReport& row : report.ops)
    if (row.op == op && row.phase == phase && row.clock_hz == clock) return row;
  throw std::runtime_error("no such row");
}

TEST(NpuReport, CountsTheBytesOfALayer) {
  EXPECT_EQ(report_4b().file_bytes_per_layer, 8847360u);  // 15 728 640 weights of 18 bytes in 32
  EXPECT_GE(report_4b().resident_bytes_per_layer, 15728640u / 2);
  EXPECT_LE(report_4b().resident_bytes_per_layer, report_4b().target_bytes_per_layer);
}

// Eight shim channels read 47.6 GB/s at 1.797 GHz (measured on a Ryzen 7 8700G) and by the same law
// about 31 GB/s at 1.028 GHz. Neither projection can be faster than its bytes, and with its launch
// neither is much slower.
TEST(NpuReport, DecodeIsWithinReachOfTheBandwidthAndTheLaunches) {
  NpuReportOptions options;
  options.prefill_rows = 16;  // not looked at
  for (const LayerConfig& config : {layer_4b(), layer_27b()}) {
    const NpuReport report = make_npu_report("", config, 1, options);
    for (const NpuLayerReport& layer : report.per_layer) {
      if (layer.phase != Phase::kDecode) continue;
      const double bytes_per_us = layer.clock_hz == 1.797e9 ? 47.6e3 : 31e3;
      const double bound_us =
          static_cast<double>(report.file_bytes_per_layer) / bytes_per_us + 2 * layer.launch_us;
      EXPECT_NEAR(layer.layer_us, bound_us, 0.15 * bound_us)
          << config.hidden << " at " << layer.clock_hz;
    }
  }
}

TEST(NpuReport, LayersAreTheirOpsAndTwoLaunches) {
  const NpuReport& report = report_4b();
  ASSERT_EQ(report.per_layer.size(), 8u);  // two phases, two clocks, two launch costs
  for (const NpuLayerReport& layer : report.per_layer) {
    const double ops_us = find(report, Op::kQkv, layer.phase, layer.clock_hz).array_us +
                          find(report, Op::kAttnOut, layer.phase, layer.clock_hz).array_us;
    EXPECT_NEAR(layer.layer_us, ops_us + 2 * layer.launch_us, 1e-6);
    EXPECT_NEAR(layer.model_tokens_per_second * 34, layer.layer_tokens_per_second, 1e-6);
    EXPECT_GT(layer.layer_tokens_per_second, 50);  // the design's target
  }
}

TEST(NpuReport, IsPrintedAsPredicted) {
  EXPECT_THAT(to_text(report_4b()), HasSubstr("all times predicted"));
  const Json json = to_json(report_4b());
  EXPECT_TRUE(json.at("emulated").get<bool>());
  EXPECT_EQ(json.at("ops").size(), report_4b().ops.size());
}

}  // namespace
}  // namespace tandem::npu
