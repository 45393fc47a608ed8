// A JSON value together with its place in a file, for files that people edit: whatever is wrong
// with it is reported with the file's name and the place as a JSON pointer.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json.h"

namespace tandem {

// Refers to the document, which must outlive it. Everything throws kInvalidFile.
class JsonPlace {
 public:
  JsonPlace(const Json& document, std::string file) : value_(&document), file_(std::move(file)) {}

  // A member of an object: required, or where there is one.
  JsonPlace at(std::string_view key) const;
  std::optional<JsonPlace> find(std::string_view key) const;
  // Throws when the object has a member of another name: a misspelt one must not be ignored.
  void allow_only(std::initializer_list<std::string_view> keys) const;
  bool is_array() const;
  bool is_text() const;
  std::vector<JsonPlace> items() const;   // of an array
  std::vector<std::string> keys() const;  // of an object

  double number(double least, double most) const;
  uint64_t whole(uint64_t least, uint64_t most) const;
  bool flag() const;
  std::string text() const;  // one line, not empty, at most 1000 bytes

  // Throws "FILE: /place PROBLEM", with another code where that says more.
  [[noreturn]] void fail(std::string_view problem, ErrorCode code = ErrorCode::kInvalidFile) const;

 private:
  JsonPlace(const Json& value, std::string file, std::string pointer)
      : value_(&value), file_(std::move(file)), pointer_(std::move(pointer)) {}

  const Json* value_;
  std::string file_, pointer_;
};

}  // namespace tandem
