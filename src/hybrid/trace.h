// What ran where and when: events kept in memory while steps run, written as a file afterwards.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backend/op.h"
#include "base/json.h"

namespace tandem {

struct Segment;

// Nanoseconds of the steady clock.
uint64_t now_ns() noexcept;

enum class TraceKind : uint8_t {
  kRun,      // a program, from handing it over to its end
  kAcquire,  // making what others wrote visible to the device
  kRelease,  // making what the device wrote visible to others
  kCache,    // the same for rows of the key-value cache, before a step
};

struct TraceEvent {
  TraceKind kind = TraceKind::kRun;
  Phase phase = Phase::kPrefill;
  uint64_t start_ns = 0, end_ns = 0;
  const Segment* segment = nullptr;  // null for kCache; lives as long as the coordinator
  uint32_t step = 0;                 // counts the steps of the coordinator
  uint32_t rows = 0;
  uint64_t bytes = 0, operations = 0;
};

// The last `capacity` events of one device. One thread adds, others read when it does not.
class TraceRing {
 public:
  explicit TraceRing(size_t capacity = 0) : events_(capacity) {}

  bool enabled() const { return !events_.empty(); }
  void add(const TraceEvent& event) noexcept { events_[added_++ % events_.size()] = event; }
  // Oldest first.
  std::vector<TraceEvent> events() const;
  uint64_t dropped() const { return added_ > events_.size() ? added_ - events_.size() : 0; }

 private:
  std::vector<TraceEvent> events_;
  uint64_t added_ = 0;
};

// A device's events under its name.
struct TraceLane {
  std::string name;
  std::vector<TraceEvent> events;
  uint64_t dropped = 0;
};

// The Trace Event Format that chrome://tracing and ui.perfetto.dev read: a named thread per device,
// times in microseconds from the first event on.
Json trace_json(const std::vector<TraceLane>& lanes);

}  // namespace tandem
