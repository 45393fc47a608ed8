// See trace_recorder.h.
// SPDX-License-Identifier: Apache-2.0
#include "npu/emulator/trace_recorder.h"

#include <map>

#include "base/json_value.h"

namespace tandem::npu {

void TraceRecorder::add(const std::string& row, const std::string& name, Cycles begin, Cycles end) {
  if (enabled_ && spans_.size() < 1'000'000) spans_.push_back({row, name, begin, end});
}

Json TraceRecorder::to_json() const {
  std::map<std::string, int> rows;
  for (const Span& span : spans_) rows.emplace(span.row, 0);
  int number = 0;
  Json events = Json::array();
  for (auto& [row, id] : rows) {
    id = ++number;
    events.push_back(
        {{"name", "thread_name"}, {"ph", "M"}, {"pid", 1}, {"tid", id}, {"args", {{"name", row}}}});
  }
  const double microseconds = 1e6 / clock_hz_;
  for (const Span& span : spans_)
    events.push_back({{"name", span.name},
                      {"ph", "X"},
                      {"pid", 1},
                      {"tid", rows[span.row]},
                      {"ts", span.begin * microseconds},
                      {"dur", (span.end - span.begin) * microseconds}});
  return {{"traceEvents", std::move(events)}, {"otherData", {{"emulated", true}}}};
}

}  // namespace tandem::npu
