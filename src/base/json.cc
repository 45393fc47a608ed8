// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/json_value.h"

namespace tandem {

Json parse_json(std::string_view text, std::string_view where) {
  try {
    return Json::parse(text);
  } catch (const Json::parse_error& error) {
    const size_t at = std::min(text.size(), error.byte == 0 ? 0 : error.byte - 1);
    const auto line =
        1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n');
    const size_t line_start = text.rfind('\n', at == 0 ? 0 : at - 1);
    const size_t column = line_start == std::string_view::npos ? at + 1 : at - line_start;
    std::string reason = error.what();
    if (const size_t colon = reason.rfind(": "); colon != std::string::npos)
      reason = reason.substr(colon + 2);
    throw Error(ErrorCode::kInvalidFile,
                fmt::format("{}:{}:{}: not valid JSON: {}", where, line, column, reason));
  }
}

std::string to_text(const Json& value, bool indented) {
  return value.dump(indented ? 2 : -1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace tandem
