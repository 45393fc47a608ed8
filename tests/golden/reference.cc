// SPDX-License-Identifier: Apache-2.0
#include "golden/reference.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>

#include "base/env.h"
#include "base/error.h"
#include "base/json_value.h"

namespace tandem {
namespace {

std::string read_all(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(ErrorCode::kNotFound, path.string() + " cannot be read");
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

double log_sum_exp(std::span<const float> logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (float logit : logits) sum += std::exp(static_cast<double>(logit) - top);
  return top + std::log(sum);
}

}  // namespace

Reference read_reference(const std::filesystem::path& json) {
  const Json root = parse_json(read_all(json), json.string());
  Reference reference;
  reference.model = root.value("file", root.value("model", ""));
  reference.vocab = root.at("vocab").get<uint32_t>();
  if (root.contains("perplexity"))
    reference.perplexity = root["perplexity"].at("value").get<double>();
  std::ifstream rows(std::filesystem::path(json).replace_extension(".f32"), std::ios::binary);
  for (const Json& entry : root.at("prompts")) {
    ReferencePrompt prompt;
    if (entry.contains("text") && entry["text"].is_string())
      prompt.text = entry["text"].get<std::string>();
    prompt.ids = entry.at("ids").get<std::vector<int32_t>>();
    prompt.argmax = entry.at("argmax").get<std::vector<int32_t>>();
    prompt.kept = entry.at("kept_positions").get<std::vector<uint32_t>>();
    prompt.greedy = entry.at("greedy").get<std::vector<int32_t>>();
    prompt.margins = entry.at("greedy_margin").get<std::vector<double>>();
    for (size_t i = 0; rows && i < prompt.kept.size(); ++i) {
      std::vector<float> row(reference.vocab);
      const size_t index = entry.at("row_offset").get<size_t>() + i;
      rows.seekg(static_cast<std::streamoff>(index * row.size() * sizeof(float)));
      rows.read(reinterpret_cast<char*>(row.data()),
                static_cast<std::streamsize>(row.size() * sizeof(float)));
      if (!rows) throw Error(ErrorCode::kInvalidFile, json.string() + ": rows are missing");
      prompt.logits.push_back(std::move(row));
    }
    reference.prompts.push_back(std::move(prompt));
  }
  return reference;
}

double divergence(std::span<const float> want, std::span<const float> got) {
  const double want_sum = log_sum_exp(want), got_sum = log_sum_exp(got);
  double total = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    const double log_p = want[i] - want_sum, log_q = got[i] - got_sum;
    total += std::exp(log_p) * (log_p - log_q);
  }
  return total;
}

double relative_error(std::span<const float> want, std::span<const float> got) {
  double error = 0, magnitude = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    if (!std::isfinite(got[i])) return INFINITY;
    error = std::max(error, std::abs(static_cast<double>(got[i]) - static_cast<double>(want[i])));
    magnitude = std::max(magnitude, std::abs(static_cast<double>(want[i])));
  }
  return error / magnitude;
}

std::filesystem::path test_assets() { return env("TANDEM_TEST_ASSETS").value_or("../shared"); }

}  // namespace tandem
