// Simulated time and who acts next. Times are cycles of the array's clock; fractions arise where
// shim channels share DRAM.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <queue>
#include <vector>

namespace tandem::npu {

using Cycles = double;

enum class AgentKind : uint8_t { kController, kCore, kChannel, kTransfer };

// Something that acts in time: the controller, a core, a DMA channel, the transfer of a channel.
struct AgentId {
  AgentKind kind = AgentKind::kController;
  int index = 0;
  friend bool operator==(const AgentId&, const AgentId&) = default;
};

struct Event {
  Cycles time = 0;
  uint64_t order = 0;  // events of one time happen in the order they were scheduled
  AgentId agent;
  uint64_t generation = 0;  // an agent's event is void when its generation has moved on
};

class EventQueue {
 public:
  void schedule(Cycles time, AgentId agent, uint64_t generation) {
    events_.push({time, order_++, agent, generation});
  }
  bool empty() const { return events_.empty(); }
  Event pop() {
    const Event event = events_.top();
    events_.pop();
    return event;
  }
  void clear() { events_ = {}; }

 private:
  struct Later {
    bool operator()(const Event& a, const Event& b) const {
      return a.time != b.time ? a.time > b.time : a.order > b.order;
    }
  };
  std::priority_queue<Event, std::vector<Event>, Later> events_;
  uint64_t order_ = 0;
};

}  // namespace tandem::npu
