// SPDX-License-Identifier: Apache-2.0
#include "hybrid/json_place.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/json_value.h"

namespace tandem {
namespace {

constexpr size_t kMaxText = 1000;  // longer than any sentence about a figure's source

bool is_control(char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; }

}  // namespace

void JsonPlace::fail(std::string_view problem, ErrorCode code) const {
  throw Error(
      code, fmt::format("{}: {} {}", file_, pointer_.empty() ? "the document" : pointer_, problem));
}

std::optional<JsonPlace> JsonPlace::find(std::string_view key) const {
  if (!value_->is_object()) fail("is no object");
  const auto member = value_->find(std::string(key));
  if (member == value_->end()) return std::nullopt;
  return JsonPlace(*member, file_, fmt::format("{}/{}", pointer_, key));
}

JsonPlace JsonPlace::at(std::string_view key) const {
  if (auto member = find(key)) return *member;
  fail(fmt::format("lacks \"{}\"", key));
}

void JsonPlace::allow_only(std::initializer_list<std::string_view> keys) const {
  if (!value_->is_object()) fail("is no object");
  for (const auto& [key, value] : value_->items())
    if (std::find(keys.begin(), keys.end(), key) == keys.end())
      fail(fmt::format("has an unknown member {}; remove it or correct its name",
                       to_text(Json(key.substr(0, kMaxText)))));
}

bool JsonPlace::is_array() const { return value_->is_array(); }

bool JsonPlace::is_text() const { return value_->is_string(); }

std::vector<JsonPlace> JsonPlace::items() const {
  if (!value_->is_array()) fail("is no array");
  std::vector<JsonPlace> places;
  for (size_t i = 0; i < value_->size(); ++i)
    places.push_back(JsonPlace((*value_)[i], file_, fmt::format("{}/{}", pointer_, i)));
  return places;
}

std::vector<std::string> JsonPlace::keys() const {
  if (!value_->is_object()) fail("is no object");
  std::vector<std::string> names;
  for (const auto& [key, value] : value_->items()) names.push_back(key);
  return names;
}

double JsonPlace::number(double least, double most) const {
  if (!value_->is_number()) fail("is no number");
  const double number = value_->get<double>();
  if (!(number >= least && number <= most))
    fail(fmt::format("is {}, expected {} to {}", number, least, most));
  return number;
}

uint64_t JsonPlace::whole(uint64_t least, uint64_t most) const {
  const double value = number(static_cast<double>(least), static_cast<double>(most));
  if (value != std::floor(value)) fail(fmt::format("is {}, expected a whole number", value));
  return static_cast<uint64_t>(value);
}

bool JsonPlace::flag() const {
  if (!value_->is_boolean()) fail("is neither true nor false");
  return value_->get<bool>();
}

std::string JsonPlace::text() const {
  if (!value_->is_string() || value_->get_ref<const std::string&>().empty())
    fail("is no text, or empty");
  const auto& text = value_->get_ref<const std::string&>();
  if (text.size() > kMaxText) fail(fmt::format("is longer than {} bytes; shorten it", kMaxText));
  if (std::any_of(text.begin(), text.end(), is_control))
    fail("holds a control character; remove it");
  return text;
}

}  // namespace tandem
