// Results on stdout and in files, with every write checked.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string_view>

#include "base/json.h"

namespace tandem {

// Writes to stdout; throws kInternal when it cannot (a full disk).
void print(std::string_view text);
void flush_stdout();

// A whole file, which replaces one of that name when it is complete. Throws as AtomicFile does.
void write_file(const std::filesystem::path& path, std::string_view text);

// A JSON document, indented, and a newline.
void print_json(const Json& value);

}  // namespace tandem
