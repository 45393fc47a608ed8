// JSON values. Only this header and json.cc name the JSON library.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace tandem {

// An ordered JSON value (keys keep the order they were written in). A file that builds or takes
// values apart includes "base/json_value.h", which brings the library's full definition.
using Json = nlohmann::ordered_json;

// Parses a whole document; throws kInvalidFile with `where` (a file name), line, column and reason.
// A key that an object has twice, a number beyond a double's range and more than 64 levels are
// errors too, with the place as a JSON pointer.
Json parse_json(std::string_view text, std::string_view where);

// The same from a file of at most 16 MiB. Throws kNotFound when it cannot be read.
Json read_json(const std::filesystem::path& path);

// Text of a value: one line, or indented by two spaces. Bytes that are not UTF-8 become U+FFFD.
std::string to_text(const Json& value, bool indented = false);

}  // namespace tandem
