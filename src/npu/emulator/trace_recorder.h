// Collects spans of simulated time as Chrome trace events.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "npu/emulator/event_queue.h"

namespace tandem::npu {

class TraceRecorder {
 public:
  TraceRecorder(bool enabled, double clock_hz) : enabled_(enabled), clock_hz_(clock_hz) {}

  bool enabled() const { return enabled_; }
  // One row per `row` name; spans beyond the first million are dropped.
  void add(const std::string& row, const std::string& name, Cycles begin, Cycles end);
  Json to_json() const;
  void clear() { spans_.clear(); }

 private:
  struct Span {
    std::string row;
    std::string name;
    Cycles begin;
    Cycles end;
  };
  bool enabled_;
  double clock_hz_;
  std::vector<Span> spans_;
};

}  // namespace tandem::npu
