// A tiny model, devices and a coordinator over them, driven step by step as tests like it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "gguf/gguf.h"
#include "hybrid/coordinator.h"
#include "model/config.h"
#include "model/weights.h"
#include "support/tiny_model.h"

namespace tandem {

// The file with what is read from it once, for any number of coordinators.
struct LoadedModel {
  explicit LoadedModel(const Gemma3Shape& shape = tiny_shape())
      : model(DType::kQ4_0, shape),
        file(GgufFile::open(model.path())),
        config(read_config(file)),
        weights(file, config) {}
  TinyModel model;
  GgufFile file;
  ModelConfig config;
  ModelWeights weights;
};

// The model of tiny_shape(), one for a whole program.
inline const LoadedModel& tiny_model() {
  static const LoadedModel model;
  return model;
}

inline CoordinatorShape short_steps() {
  CoordinatorShape shape;
  shape.max_rows = 16;
  shape.context = 64;
  return shape;
}

inline Plan plan_of(const LoadedModel& model, uint32_t device_count) {
  Plan plan = single_device_plan("0", static_cast<uint32_t>(model.config.layers.size()));
  for (uint32_t i = 1; i < device_count; ++i) plan.devices.push_back(std::to_string(i));
  return plan;
}

inline std::vector<uint32_t> some_tokens(uint32_t count, uint32_t seed = 0) {
  std::vector<uint32_t> tokens(count);
  for (uint32_t i = 0; i < count; ++i) tokens[i] = (i * 37 + 5 + seed * 101) % 512;
  return tokens;
}

inline std::vector<float> copy_of(std::span<const float> values) {
  return {values.begin(), values.end()};
}

// Rows of one sequence from `position` on; the last of them an output.
inline std::vector<StepRow> rows_of(std::span<const uint32_t> tokens, uint32_t position,
                                    uint32_t sequence = 0) {
  std::vector<StepRow> rows;
  for (uint32_t token : tokens) rows.push_back({token, sequence, position++, false});
  rows.back().output = true;
  return rows;
}

// A prompt in chunks, pipelined where the coordinator has slots; afterwards the last row's logits
// are there.
inline void prefill(Coordinator& coordinator, std::span<const uint32_t> tokens, uint32_t chunk,
                    uint32_t sequence = 0) {
  std::vector<StepRow> rows = rows_of(tokens, 0, sequence);
  std::vector<PipelineStep> steps;
  for (size_t i = 0; i < rows.size(); i += chunk)
    steps.push_back({std::span(rows).subspan(i, std::min<size_t>(chunk, rows.size() - i))});
  if (coordinator.shape().slots > 1) {
    coordinator.run_pipelined(steps, Phase::kPrefill, Tail::kNone);
    return;
  }
  for (const PipelineStep& step : steps) coordinator.run(step.rows, Tail::kNone);
}

// The logits after a prompt in chunks, and after each of the tokens that follow it one by one.
inline std::vector<std::vector<float>> logits_of(Coordinator& coordinator, uint32_t prompt,
                                                 uint32_t chunk, uint32_t generated) {
  const std::vector<uint32_t> tokens = some_tokens(prompt + generated);
  std::vector<std::vector<float>> all;
  prefill(coordinator, std::span(tokens).first(prompt), chunk);
  all.push_back(copy_of(coordinator.logits(0)));
  for (uint32_t i = prompt; i < tokens.size(); ++i) {
    coordinator.run(rows_of(std::span(tokens).subspan(i, 1), i), Tail::kNone);
    all.push_back(copy_of(coordinator.logits(0)));
  }
  return all;
}

}  // namespace tandem
