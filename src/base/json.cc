// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>
#include <vector>

#include "base/error.h"
#include "base/json_value.h"

namespace tandem {
namespace {

constexpr std::streamsize kMaxFileSize = 16 << 20;

// Finds keys that an object has twice, of which the library would keep one.
class KeyCheck {
 public:
  explicit KeyCheck(std::string_view where) : where_(where) {}

  bool operator()(int, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::object_start) objects_.emplace_back();
    if (event == Json::parse_event_t::object_end) objects_.pop_back();
    if (event == Json::parse_event_t::key && !objects_.back().insert(value).second)
      throw Error(ErrorCode::kInvalidFile,
                  fmt::format("{}: an object has the key {} twice; remove one of them", where_,
                              to_text(value)));
    return true;
  }

 private:
  std::string_view where_;
  std::vector<std::set<std::string>> objects_;  // the keys of each that is open
};

}  // namespace

Json parse_json(std::string_view text, std::string_view where) {
  try {
    return Json::parse(text, KeyCheck(where));
  } catch (const Json::parse_error& error) {
    const size_t at = std::min(text.size(), error.byte == 0 ? 0 : error.byte - 1);
    const auto line =
        1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n');
    const size_t line_start = text.rfind('\n', at == 0 ? 0 : at - 1);
    const size_t column = line_start == std::string_view::npos ? at + 1 : at - line_start;
    std::string reason = error.what();
    if (const size_t colon = reason.find(": "); colon != std::string::npos)
      reason = reason.substr(colon + 2);
    throw Error(ErrorCode::kInvalidFile,
                fmt::format("{}:{}:{}: not valid JSON: {}", where, line, column, reason));
  }
}

Json read_json(const std::filesystem::path& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text(kMaxFileSize + 1, '\0');
  if (file) file.read(text.data(), kMaxFileSize + 1);
  if (!file.eof() && !file.good())
    throw Error(ErrorCode::kNotFound,
                fmt::format("{} cannot be read: {}", path.string(), std::strerror(errno)));
  if (file.gcount() > kMaxFileSize)
    throw Error(ErrorCode::kInvalidFile,
                fmt::format("{} is larger than 16 MiB; give a JSON file", path.string()));
  text.resize(static_cast<size_t>(file.gcount()));
  return parse_json(text, path.string());
}

std::string to_text(const Json& value, bool indented) {
  return value.dump(indented ? 2 : -1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace tandem
