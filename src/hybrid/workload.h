// The steps that a prompt or a generation consists of, and what a node costs in one of them: what
// the planner adds up and the simulator lets happen.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "hybrid/cost_table.h"

namespace tandem {

// A prompt, or tokens generated for several sequences.
struct Workload {
  Phase phase = Phase::kPrefill;
  uint32_t tokens = 0;     // of the prompt, or generated for each sequence
  uint32_t position = 0;   // of the first of them
  uint32_t chunk = 512;    // prefill: rows of a step
  uint32_t sequences = 1;  // decode
  uint32_t depth = 1;      // prefill: chunks in flight; decode: groups of sequences in flight

  uint32_t all_tokens() const { return phase == Phase::kPrefill ? tokens : tokens * sequences; }
  // Steps in flight at most.
  uint32_t in_flight() const;
};

struct WorkStep {
  uint32_t rows = 0, position = 0;
  bool has_output = true;  // the head works for it
};

// In order. Groups of sequences take turns.
std::vector<WorkStep> steps_of(const Workload& workload);

// Whether a step passes over a segment that begins with such a node: the head by itself, where no
// row is an output.
bool passes_over(NodeKind first, const WorkStep& step);

// A node on a device that supports it.
NodeTime node_time(const CostTable& table, uint32_t device, NodeKind kind, Phase phase,
                   const WorkStep& step);

// Before the first node of a segment on `to`: its launch, and from another device, which `to`
// waited for, the hand-over of what node kind `before` wrote and the wake. `from` is kNoDevice for
// the first segment of a step. The host's own work for a step is about a microsecond and not
// counted.
inline constexpr uint32_t kNoDevice = UINT32_MAX;
double entry_us(const CostTable& table, uint32_t from, uint32_t to, NodeKind before,
                const WorkStep& step);

// The hand-over alone, and the share of it that keeps `from` busy, not `to`: a device with memory
// of its own copies what it hands over, and what it takes.
double hand_over_us(const CostTable& table, uint32_t from, uint32_t to, NodeKind before,
                    const WorkStep& step);
double source_share(const CostTable& table, uint32_t from, uint32_t to);

}  // namespace tandem
