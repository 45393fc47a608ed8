// Whole models with the attention projections on the emulated NPU, against an independent
// implementation.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "backend/backends.h"
#include "engine/engine.h"
#include "engine/session.h"
#include "gguf/gguf.h"
#include "gguf/gguf_writer.h"
#include "golden/reference.h"
#include "hybrid/coordinator.h"
#include "npu/npu_backend.h"
#include "tensor/quantize.h"

namespace tandem {
namespace {

const char* const kStory = "models/story-14m-q4_0.gguf";

// Integer scales alone cost 5.3e-4 nats in simulation; the other products of the model add what
// int8 activations cost there.
constexpr double kDivergence = 2e-3, kDivergenceBesideF32 = 8e-4;

// Mean over the rows that the reference keeps, the projections being on the emulated array.
double mean_divergence(const Reference& reference, const std::filesystem::path& model, DType kv) {
  EngineOptions options;
  options.device = "npu-emu";
  options.kv = kv;
  options.max_outputs = 64;
  for (const ReferencePrompt& prompt : reference.prompts)
    options.context = std::max(options.context, static_cast<uint32_t>(prompt.ids.size()));
  Engine engine(model, options);
  double sum = 0;
  size_t rows = 0;
  for (const ReferencePrompt& prompt : reference.prompts) {
    Session session(engine);
    size_t next = 0;
    session.append_all(prompt.ids, [&](uint32_t position, std::span<const float> logits) {
      if (next >= prompt.kept.size() || prompt.kept[next] != position) return;
      sum += divergence(prompt.logits[next++], logits);
      ++rows;
    });
  }
  return sum / static_cast<double>(rows);
}

bool is_projection(std::string_view name) {
  for (const char* part : {"attn_q.", "attn_k.", "attn_v.", "attn_output."})
    if (name.find(part) != std::string_view::npos) return true;
  return false;
}

// The model with all but its attention projections in f32: the same values, and a CPU that computes
// with them in f32.
void write_with_f32(const GgufFile& source, const std::filesystem::path& out) {
  GgufWriter writer(out);
  for (const GgufEntry& entry : source.entries()) writer.add_entry(entry);
  for (const GgufTensor& tensor : source.tensors())
    writer.add_tensor(tensor.name, is_projection(tensor.name) ? tensor.dtype : DType::kF32,
                      std::span(tensor.dims).first(tensor.dims[1] > 1 ? 2 : 1));
  writer.start();
  std::vector<float> row;
  for (size_t i = 0; i < source.tensors().size(); ++i) {
    const GgufTensor& tensor = source.tensors()[i];
    if (is_projection(tensor.name)) {
      writer.write(i, 0, tensor.data);
      continue;
    }
    row.resize(tensor.dims[0]);
    const TensorView view = tensor.view();
    for (uint32_t r = 0; r < view.rows(); ++r) {
      dequantize_row(tensor.dtype, view.row(0, r), row.data(), row.size());
      writer.write(i, r * row.size() * sizeof(float), std::as_bytes(std::span(row)));
    }
  }
  writer.finish();
}

std::filesystem::path reference_path() {
  return test_assets() / "reference" / "story-14m-q4_0.json";
}

TEST(NpuGolden, LogitsAgree) {
  if (!std::filesystem::exists(reference_path()))
    GTEST_SKIP() << reference_path() << " is not there (TANDEM_TEST_ASSETS)";
  const double mean = mean_divergence(read_reference(reference_path()), kStory, DType::kF16);
  RecordProperty("mean_divergence", std::to_string(mean));
  EXPECT_LT(mean, kDivergence);
}

TEST(NpuGolden, LogitsAgreeBesideF32) {
  if (!std::filesystem::exists(reference_path()))
    GTEST_SKIP() << reference_path() << " is not there (TANDEM_TEST_ASSETS)";
  const std::filesystem::path model =
      std::filesystem::path(::testing::TempDir()) / "npu_golden_f32.gguf";
  write_with_f32(GgufFile::open(kStory), model);
  const double mean = mean_divergence(read_reference(reference_path()), model, DType::kF32);
  std::filesystem::remove(model);
  RecordProperty("mean_divergence", std::to_string(mean));
  EXPECT_LT(mean, kDivergenceBesideF32);
}

// The first tokens of a greedy text with the projections on `npu`.
std::vector<int32_t> greedy_text(Backend& npu, std::span<const int32_t> prompt, size_t count) {
  const GgufFile file = GgufFile::open(kStory);
  const ModelConfig config = read_config(file);
  const ModelWeights weights(file, config);
  const std::unique_ptr<Backend> cpu = open_backend("cpu", {});
  Backend* const backends[] = {&npu, cpu.get()};
  CoordinatorShape shape;
  shape.max_rows = 16;
  shape.context = 64;
  Coordinator coordinator(
      config, weights, backends,
      projections_plan(npu.info().name, "cpu", static_cast<uint32_t>(config.layers.size())), shape);
  std::vector<StepRow> rows;
  for (const int32_t id : prompt)
    rows.push_back({static_cast<uint32_t>(id), 0, static_cast<uint32_t>(rows.size())});
  std::vector<int32_t> text;
  uint32_t position = static_cast<uint32_t>(prompt.size());
  while (text.size() < count) {
    rows.back().output = true;
    coordinator.run(rows, Tail::kArgmax);
    text.push_back(coordinator.ids()[0]);
    rows.assign(1, {static_cast<uint32_t>(text.back()), 0, position++});
  }
  return text;
}

// The text comes from the array: the same run with its sums replaced by zeros says something else.
TEST(NpuGolden, ZeroedSumsChangeTheText) {
  const Reference reference = read_reference("tests/golden/story-14m-q4_0.json");
  const ReferencePrompt& prompt = reference.prompts.front();
  ASSERT_LE(prompt.ids.size(), 16u);
  constexpr size_t kTokens = 4;
  npu::NpuOptions options;
  options.emulated = true;
  const std::vector<int32_t> want(prompt.greedy.begin(), prompt.greedy.begin() + kTokens);
  EXPECT_EQ(greedy_text(*npu::make_npu_backend(options), prompt.ids, kTokens), want);
  options.zero_results = true;
  EXPECT_NE(greedy_text(*npu::make_npu_backend(options), prompt.ids, kTokens), want);
}

}  // namespace
}  // namespace tandem
