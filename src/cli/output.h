// Results on stdout, with every write checked.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "base/json.h"

namespace tandem {

// Writes to stdout; throws kInternal when it cannot (a full disk).
void print(std::string_view text);
void flush_stdout();

// A JSON document, indented, and a newline.
void print_json(const Json& value);

}  // namespace tandem
