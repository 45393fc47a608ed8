// A progress bar on stderr, when that is a terminal.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

namespace tandem {

// Draws "label [=====>    ] 42 %" at most ten times a second; nothing for work shorter than a
// tenth of a second or when stderr is no terminal. Erased on destruction.
class ProgressBar {
 public:
  explicit ProgressBar(std::string label);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void update(uint64_t done, uint64_t total);
  // update() as a callback that throws Interrupted after Ctrl-C; the bar must outlive it.
  std::function<void(uint64_t, uint64_t)> callback();

 private:
  std::string label_;
  bool terminal_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point next_draw_;
};

}  // namespace tandem
