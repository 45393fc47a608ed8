// SPDX-License-Identifier: Apache-2.0
#include "model/stop_strings.h"

#include <algorithm>

#include "base/error.h"

namespace tandem {
namespace {

bool ends_with(std::string_view text, std::string_view ending) {
  return text.size() >= ending.size() && text.substr(text.size() - ending.size()) == ending;
}

}  // namespace

StopStrings::StopStrings(std::vector<std::string> stops) : stops_(std::move(stops)) {
  for (const std::string& stop : stops_)
    if (stop.empty())
      throw Error(ErrorCode::kUsage,
                  "a stop string is empty, which would end every text at once; leave it out");
}

std::string_view StopStrings::feed(std::string_view text) {
  text_.clear();
  if (stopped_) return text_;
  const size_t first_end = held_.size() + 1;
  held_ += text;
  stopped_ = cut_at_first_stop(first_end);
  const size_t ready = held_.size() - (stopped_ ? 0 : size_of_possible_start());
  text_.assign(held_, 0, ready);
  held_.erase(0, ready);
  return text_;
}

std::string_view StopStrings::flush() {
  text_ = held_;
  held_.clear();
  return text_;
}

// `first_end`: no stop string ends before it.
bool StopStrings::cut_at_first_stop(size_t first_end) {
  for (size_t end = first_end; end <= held_.size(); ++end) {
    const std::string_view text = std::string_view(held_).substr(0, end);
    size_t longest = 0;
    for (const std::string& stop : stops_)
      if (ends_with(text, stop)) longest = std::max(longest, stop.size());
    if (longest > 0) {
      held_.resize(end - longest);
      return true;
    }
  }
  return false;
}

size_t StopStrings::size_of_possible_start() const {
  size_t longest = 0;
  for (const std::string& stop : stops_)
    for (size_t size = std::min(stop.size() - 1, held_.size()); size > longest; --size)
      if (ends_with(held_, std::string_view(stop).substr(0, size))) longest = size;
  return longest;
}

}  // namespace tandem
