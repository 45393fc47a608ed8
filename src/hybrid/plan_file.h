// Plans as JSON files: read, checked against a model, written. docs/execution-plan.md has the
// format by example.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "hybrid/plan.h"
#include "model/config.h"

namespace tandem {

class JsonPlace;

// Every node of the result has one device of `devices`; whether those exist and can run their
// nodes is not known here. Throws kInvalidFile with the place (line and column for syntax, else a
// JSON pointer such as /decode/3/layers), the reason and what to do; kUsage for another model's.
Plan parse_plan(std::string_view json, const std::string& file_name, const ModelConfig& config);

// The same from a file. Throws kNotFound when there is none.
Plan read_plan(const std::filesystem::path& path, const ModelConfig& config);

// The same of a larger document, for a model of so many layers.
Plan plan_at(const JsonPlace& place, uint32_t layer_count);

// A plan as parse_plan() reads it, layers in ranges, ending in a line break.
std::string format_plan(const Plan& plan, const ModelConfig& config);

}  // namespace tandem
