// Runs a plan: places weights, records one program per run of nodes on a device, and hands
// memory from device to device between them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "hybrid/plan.h"
#include "model/blocks.h"
#include "model/config.h"
#include "model/kv_cache.h"
#include "model/weights.h"

namespace tandem {

// How much work a step may hold and what the caches are sized for.
struct CoordinatorShape {
  uint32_t max_rows = 512;   // rows of a prefill step
  uint32_t max_outputs = 1;  // rows of a step whose logits are wanted
  uint32_t max_rounds = 1;   // decode rounds per submit
  uint32_t context = 0;      // positions of a sequence
  uint32_t sequences = 1;
  DType kv = DType::kF16;
};

// What comes after the head.
enum class Tail : uint8_t { kNone, kArgmax };

// One token to process. Rows of a step may belong to any mix of sequences; those of one sequence
// come in ascending positions, without gaps after what the cache holds.
struct StepRow {
  uint32_t token = 0, sequence = 0, position = 0;
  bool output = false;  // logits wanted
};

// What moved between devices, since construction.
struct EdgeCounters {
  uint64_t edges = 0;  // hand-overs from one device to another
  uint64_t edge_bytes = 0;
  uint64_t staged_bytes = 0;  // of those, what had to be copied
};

// Not thread-safe. Backends must outlive it.
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

  // Bytes of the activations such a coordinator allocates.
  static size_t activation_size(const ModelConfig& config, const CoordinatorShape& shape);

  // Runs one step; rows.size() <= max_rows, outputs <= max_outputs. A single row per sequence is
  // a decode step, anything else prefill. With rounds > 1 (decode, kArgmax) every row must be an
  // output and each round feeds its argmax back. Throws kDeviceLost or kTimeout naming the node's
  // device; the cache then counts only as far as before the step.
  void run(std::span<const StepRow> rows, Tail tail, uint32_t rounds = 1);

  // Of the last run: logits of its i-th output, which the caller may change; the ids of a round,
  // one per output.
  std::span<float> logits(uint32_t output) const;
  std::span<const int32_t> ids(uint32_t round = 0) const;

  // Bytes by kind, for reports.
  size_t kv_size() const { return kv_.size(); }
  size_t activation_size() const { return activations_->size(); }
  size_t weight_size() const { return weight_size_; }
  const EdgeCounters& edges() const { return edge_counters_; }
  // Nodes per device of the given phase, in the order of plan.devices.
  std::vector<uint32_t> node_counts(Phase phase) const;

 private:
  struct Segment;   // a run of nodes on one device, as a program
  struct Schedule;  // the segments of a phase and tail
  struct Loaded;    // a node's weights on a device, as loaded ops

  void allocate_activations();
  void load_weights(const ModelWeights& weights, const Progress& progress);
  Loaded& loaded(size_t node, uint32_t device);
  void load_node(const ModelWeights& weights, size_t node, uint32_t device);
  Schedule make_schedule(Phase phase, Tail tail);
  void append_node(Segment& segment, const Node& node, Loaded& ops, Phase phase);
  std::vector<TensorView> views_of(const BlockOp& op, uint16_t layer) const;
  void write_batch(std::span<const StepRow> rows);
  void hand_over(const Segment& segment, uint32_t row_count);
  void run_segment(Segment& segment, uint32_t rounds);
  void move_owner(uint32_t& owner, const TensorView& view, size_t size, uint32_t to);

  const ModelConfig& config_;
  std::vector<Backend*> backends_;
  Plan plan_;
  CoordinatorShape shape_;
  std::vector<Node> nodes_;

  std::unique_ptr<SharedMemory> activations_;
  KvCache kv_;
  std::array<TensorView, kOperandCount> operands_{};  // the KV entries stay empty
  TensorView batch_;
  uint32_t output_count_ = 0;

  std::vector<std::unique_ptr<Loaded>> loaded_;
  std::vector<Schedule> schedules_;
  size_t weight_size_ = 0;

  // Who wrote an operand last: a device's index, or kHost.
  std::array<uint32_t, kOperandCount> owners_{};
  std::vector<uint32_t> kv_owners_;  // per layer
  EdgeCounters edge_counters_;
};

}  // namespace tandem
