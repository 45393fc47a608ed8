// SPDX-License-Identifier: Apache-2.0
#include "cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/interrupt.h"

namespace tandem {
namespace {

constexpr std::chrono::milliseconds kInterval{100};
constexpr uint64_t kWidth = 32;  // characters inside the brackets

}  // namespace

ProgressBar::ProgressBar(std::string label)
    : label_(std::move(label)),
      terminal_(isatty(STDERR_FILENO) == 1),
      next_draw_(std::chrono::steady_clock::now() + kInterval) {}

ProgressBar::~ProgressBar() {
  if (drawn_) fmt::print(stderr, "\r{:{}}\r", "", label_.size() + kWidth + 10);
}

void ProgressBar::update(uint64_t done, uint64_t total) {
  const auto now = std::chrono::steady_clock::now();
  if (!terminal_ || total == 0 || now < next_draw_) return;
  next_draw_ = now + kInterval;
  drawn_ = true;
  const double share = static_cast<double>(std::min(done, total)) / static_cast<double>(total);
  const auto filled = static_cast<size_t>(share * static_cast<double>(kWidth));
  fmt::print(stderr, "\r{} [{:=<{}}{:{}}] {:3.0f} %", label_, "", filled, "", kWidth - filled,
             share * 100);
}

std::function<void(uint64_t, uint64_t)> ProgressBar::callback() {
  return [this](uint64_t done, uint64_t total) {
    if (interrupted()) throw Interrupted();
    update(done, total);
  };
}

}  // namespace tandem
