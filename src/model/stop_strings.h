// Ends generated text before the first of some given strings, while it streams.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tandem {

// The text comes in parts of any size and the result does not depend on where they end. The string
// that is complete first wins; of those complete at the same place, the longest.
class StopStrings {
 public:
  // None at all is fine. Throws kUsage for an empty string.
  explicit StopStrings(std::vector<std::string> stops);

  // The text that can no longer be part of a stop string; valid until the next call. Once a stop
  // string is complete: what stood before it, then nothing more.
  std::string_view feed(std::string_view text);
  // The end of the text: what was held back, because no stop string came of it.
  std::string_view flush();
  bool stopped() const { return stopped_; }

 private:
  bool cut_at_first_stop(size_t first_end);
  size_t size_of_possible_start() const;

  std::vector<std::string> stops_;
  std::string held_;  // not yet given out
  std::string text_;  // what the last call returned
  bool stopped_ = false;
};

}  // namespace tandem
