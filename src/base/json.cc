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
constexpr int kMaxNesting = 64;
constexpr size_t kMaxReason = 300;  // bytes of the library's words, which quote what they read

// Follows the library through a document. Refuses keys that an object has twice, of which the
// library would keep one, and nesting so deep that it would cost memory.
class Follower {
 public:
  explicit Follower(std::string_view where) : where_(where) {}

  bool follow(int depth, Json::parse_event_t event, const Json& value) {
    using Event = Json::parse_event_t;
    if (depth > kMaxNesting) fail(fmt::format("is nested deeper than {} levels", kMaxNesting));
    switch (event) {
      case Event::object_start: open_.push_back({false, 0, {}, {}}); break;
      case Event::array_start: open_.push_back({true, 0, {}, {}}); break;
      case Event::key: enter(value); break;
      case Event::object_end:
      case Event::array_end: open_.pop_back(); [[fallthrough]];
      case Event::value:
        if (!open_.empty()) ++open_.back().index;
    }
    return true;
  }

  // "FILE: /place PROBLEM" of the value that is being read.
  [[noreturn]] void fail(std::string_view problem) const {
    std::string place;
    for (const Open& open : open_)
      place += "/" + (open.array ? std::to_string(open.index) : open.key);
    throw Error(ErrorCode::kInvalidFile,
                fmt::format("{}: {} {}", where_, place.empty() ? "the document" : place, problem));
  }

 private:
  // An array or object whose end is not read yet.
  struct Open {
    bool array;
    size_t index;  // values read
    std::string key;
    std::set<std::string> keys;
  };

  void enter(const Json& key) {
    Open& object = open_.back();
    object.key = key.get<std::string>();
    if (!object.keys.insert(object.key).second)
      fail("is a key that its object has twice; remove one of them");
  }

  std::string_view where_;
  std::vector<Open> open_;
};

[[noreturn]] void fail_syntax(std::string_view text, std::string_view where, size_t at,
                              std::string_view reason) {
  const std::string_view before = text.substr(0, at);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const size_t line_start = before.rfind('\n');
  const size_t column = line_start == std::string_view::npos ? at + 1 : at - line_start;
  throw Error(ErrorCode::kInvalidFile,
              fmt::format("{}:{}:{}: not valid JSON: {}", where, line, column, reason));
}

}  // namespace

Json parse_json(std::string_view text, std::string_view where) {
  // The library takes a zero byte for the end and what follows it for nothing.
  if (const size_t zero = text.find('\0'); zero != std::string_view::npos)
    fail_syntax(text, where, zero, "a zero byte");
  Follower follower(where);
  try {
    return Json::parse(text, [&](int depth, Json::parse_event_t event, const Json& value) {
      return follower.follow(depth, event, value);
    });
  } catch (const Json::parse_error& error) {
    std::string reason = error.what();
    if (const size_t colon = reason.find(": "); colon != std::string::npos)
      reason = reason.substr(colon + 2);
    if (reason.size() > kMaxReason) reason = reason.substr(0, reason.find("; last read"));
    fail_syntax(text, where, std::min(text.size(), error.byte == 0 ? 0 : error.byte - 1), reason);
  } catch (const Json::out_of_range&) {
    follower.fail("is a number too large to read; give a smaller one");
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
