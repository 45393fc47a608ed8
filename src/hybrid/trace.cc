// SPDX-License-Identifier: Apache-2.0
#include "hybrid/trace.h"

#include <algorithm>
#include <chrono>

#include "backend/phase_name.h"
#include "base/json_value.h"
#include "hybrid/segment.h"

namespace tandem {
namespace {

constexpr int kProcess = 1;

const char* kind_name(TraceKind kind) {
  switch (kind) {
    case TraceKind::kRun: return "run";
    case TraceKind::kAcquire: return "acquire";
    case TraceKind::kRelease: return "release";
    case TraceKind::kCache: return "cache";
  }
  return "";
}

Json event_json(const TraceEvent& event, size_t thread, uint64_t origin) {
  Json arguments = {{"phase", phase_name(event.phase)},
                    {"step", event.step},
                    {"rows", event.rows},
                    {"bytes", event.bytes}};
  std::string name = kind_name(event.kind);
  if (event.segment != nullptr) {
    arguments["layers"] = {event.segment->first_layer, event.segment->last_layer};
    arguments["nodes"] = event.segment->plan_nodes;
    name = (event.kind == TraceKind::kRun ? "" : name + " ") + event.segment->name();
  }
  if (event.kind == TraceKind::kRun) arguments["operations"] = event.operations;
  return {{"name", name},
          {"cat", kind_name(event.kind)},
          {"ph", "X"},
          {"pid", kProcess},
          {"tid", thread},
          {"ts", static_cast<double>(event.start_ns - origin) * 1e-3},
          {"dur", static_cast<double>(event.end_ns - event.start_ns) * 1e-3},
          {"args", std::move(arguments)}};
}

// Names the process or a thread.
Json name_json(std::string_view what, size_t thread, std::string_view name) {
  return {
      {"name", what}, {"ph", "M"}, {"pid", kProcess}, {"tid", thread}, {"args", {{"name", name}}}};
}

}  // namespace

uint64_t now_ns() noexcept {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                   std::chrono::steady_clock::now().time_since_epoch())
                                   .count());
}

std::vector<TraceEvent> TraceRing::events() const {
  std::vector<TraceEvent> list;
  for (uint64_t i = dropped(); i < added_; ++i) list.push_back(events_[i % events_.size()]);
  return list;
}

Json trace_json(const std::vector<TraceLane>& lanes) {
  uint64_t origin = UINT64_MAX;
  for (const TraceLane& lane : lanes)
    for (const TraceEvent& event : lane.events) origin = std::min(origin, event.start_ns);
  Json events = Json::array();
  events.push_back(name_json("process_name", kProcess, "tandem"));
  size_t thread = kProcess;  // viewers list the thread first that has its process's number
  for (const TraceLane& lane : lanes) {
    events.push_back(name_json("thread_name", thread, lane.name));
    for (const TraceEvent& event : lane.events) events.push_back(event_json(event, thread, origin));
    ++thread;
  }
  Json dropped = Json::object();
  for (const TraceLane& lane : lanes) dropped[lane.name] = lane.dropped;
  return {{"traceEvents", std::move(events)},
          {"displayTimeUnit", "ms"},
          {"otherData", {{"events_dropped", std::move(dropped)}}}};
}

}  // namespace tandem
