// Runs a plan: places weights, records one program per run of nodes on a device, and hands
// memory from device to device between them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "hybrid/cache_owners.h"
#include "hybrid/counters.h"
#include "hybrid/plan.h"
#include "hybrid/segment.h"
#include "hybrid/slot.h"
#include "hybrid/step.h"
#include "hybrid/trace.h"
#include "model/blocks.h"
#include "model/config.h"
#include "model/kv_cache.h"
#include "model/weights.h"

namespace tandem {

// One of several steps that run at the same time: other rows of the same sequences, in ascending
// order, or the next tokens of other sequences.
struct PipelineStep {
  std::span<const StepRow> rows;
  uint32_t rounds = 1;
};

// Bytes that one device holds for a coordinator.
struct DeviceMemory {
  size_t weights = 0;
  size_t cache = 0;        // of the layers whose attention it runs
  size_t activations = 0;  // shared pages it uses, and scratch of its own

  size_t total() const { return weights + cache + activations; }
};

// Not thread-safe. Configuration, weights and backends must outlive it.
class Coordinator {
 public:
  using Progress = std::function<void(uint64_t done_bytes, uint64_t total_bytes)>;

  // `backends` in the order of plan.devices. Loads all weights, dropping the file's pages as it
  // goes. Throws Error: kUnsupported when a device declines a node and its primitives (with node
  // and reason), kOutOfMemory.
  Coordinator(const ModelConfig& config, const ModelWeights& weights,
              std::span<Backend* const> backends, const Plan& plan, const CoordinatorShape& shape,
              const Progress& progress = {});
  ~Coordinator();

  const CoordinatorShape& shape() const { return shape_; }

  // Bytes of the activations such a coordinator allocates, and of its cache.
  static size_t activation_size(const ModelConfig& config, const CoordinatorShape& shape);
  static KvCacheShape cache_shape(const CoordinatorShape& shape);

  // Runs one step; rows.size() <= max_rows, outputs <= max_outputs. Single rows of at most
  // decode_rows() sequences are a decode step, anything else prefill. With rounds > 1 (decode,
  // kArgmax) every row must be an output and each round feeds its argmax back. Throws kDeviceLost
  // or kTimeout naming the nodes and their device; the cache then counts only as far as before the
  // step.
  void run(std::span<const StepRow> rows, Tail tail, uint32_t rounds = 1);

  // Runs steps of one phase, each within what run() takes, with as many at work on different
  // devices as there are slots. After Ctrl-C no more are started. Returns how many were finished,
  // and sets `finished` to that also when it throws, as run() does; the cache then counts as far as
  // the steps finished. With rounds > 1 there may not be more steps than slots.
  uint32_t run_pipelined(std::span<const PipelineStep> steps, Phase phase, Tail tail,
                         uint32_t* finished = nullptr);

  // Of the last run, or the last step of a pipelined one: logits of its i-th output, which the
  // caller may change; the ids of a round, one per output.
  std::span<float> logits(uint32_t output) const;
  std::span<const int32_t> ids(uint32_t round = 0) const {
    return pipelined_ids(last_slot_, round);
  }
  // Of step `step` of a pipelined run with no more steps than slots.
  std::span<const int32_t> pipelined_ids(uint32_t step, uint32_t round) const {
    return slots_[step]->ids(round);
  }

  // Bytes by kind, for reports; and by device, in the order of plan.devices.
  size_t kv_size() const { return kv_.size(); }
  size_t activation_size() const;
  size_t weight_size() const;
  DeviceMemory device_memory(uint32_t device) const { return memory_[device]; }

  // What the devices did since the last reset.
  const PhaseUse& use(Phase phase) const { return uses_[static_cast<size_t>(phase)]; }
  DeviceUse total_use() const;  // of all devices in both phases
  void reset_counters();

  // The nodes of a pass, and the device of each in a phase.
  std::span<const Node> nodes() const { return std::span(nodes_).first(nodes_.size() - 1); }
  std::span<const uint32_t> placement(Phase phase) const {
    return std::span(phase == Phase::kPrefill ? plan_.prefill : plan_.decode).first(nodes().size());
  }
  // Nodes per device of the given phase, in the order of plan.devices.
  std::vector<uint32_t> node_counts(Phase phase) const;

  // Keeps the last `capacity` events of every device from now on; a lane per device, in the order
  // of plan.devices.
  void start_trace(size_t capacity);
  std::vector<TraceLane> trace() const;

 private:
  struct Scratch;
  // A step on its way through the segments of a schedule.
  struct StepState {
    Schedule* schedule = nullptr;
    Phase phase = Phase::kPrefill;
    Tail tail = Tail::kNone;
    uint32_t segment = 0, round = 0, rounds = 1;
    uint32_t rounds_per_submit = 1;
    uint32_t number = 0;
  };
  class PipelinedSteps;

  DeviceUse& device_use(Phase phase, uint32_t device) {
    return uses_[static_cast<size_t>(phase)].devices[device];
  }

  void load_weights(const ModelWeights& weights, const Progress& progress);
  void load_node(const ModelWeights& weights, size_t node, uint32_t device);
  LoadedNode& loaded(size_t node, uint32_t device);
  const TensorView& view_of(Operand operand, const Node& node, uint32_t device, uint32_t slot);
  Scratch& scratch_of(uint32_t device);
  Schedule& schedule(Phase phase, Tail tail);
  void count_memory();
  Schedule make_schedule(Phase phase, Tail tail);
  std::unique_ptr<Program> record(const Segment& segment, Phase phase, uint32_t slot);
  void start(uint32_t slot, const PipelineStep& step, Phase phase, Tail tail);
  uint32_t device_of(uint32_t slot) const;
  void hand_over_cache(std::span<const PipelineStep> steps, Phase phase);
  void run_segment(uint32_t slot);
  void transfer(uint32_t slot, const Segment& segment, Access access);
  bool advance(uint32_t slot);

  const ModelConfig& config_;
  const ModelWeights& weights_;
  std::vector<Backend*> backends_;
  Plan plan_;
  CoordinatorShape shape_;
  std::vector<Node> nodes_;

  KvCache kv_;
  CacheOwners cache_owners_;
  std::vector<std::unique_ptr<Slot>> slots_;
  // Scratch operands of each device that runs primitives: one set, as a device does one at a time.
  std::vector<std::unique_ptr<Scratch>> scratch_;

  std::vector<std::unique_ptr<LoadedNode>> loaded_;
  std::array<std::unique_ptr<Schedule>, 4> schedules_;  // by phase and tail, made when first needed
  std::vector<StepState> steps_;                        // by slot
  uint32_t last_slot_ = 0, step_count_ = 0;
  std::vector<SequenceExtent> extents_;  // of the sequences of a run
  std::unique_ptr<PipelinedSteps> pipelined_;

  std::vector<DeviceMemory> memory_;
  std::array<PhaseUse, 2> uses_;  // by phase
  std::vector<TraceRing> trace_;  // by device
};

}  // namespace tandem
