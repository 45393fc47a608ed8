// A model in a few words, as llama.cpp's tools describe it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "gguf/gguf.h"
#include "model/config.h"

namespace tandem {

// "gemma3 1B Q4_0": the published size with these layers and widths ("?B" for another) and the
// name of general.file_type, or of most matrices' type where a file has none (" (guessed)").
std::string describe_model(const GgufFile& file, const ModelConfig& config);

}  // namespace tandem
