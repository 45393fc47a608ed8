// SPDX-License-Identifier: Apache-2.0
#include "hybrid/refine.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <vector>

namespace tandem {
namespace {

constexpr uint32_t kMaxPasses = 12;
constexpr double kLeastGain = 1e-4;  // share of the time that is worth another plan

// What is moved together: alone, or with neighbours, which saves a hand-over between them.
using Group = std::vector<Op>;
const std::array<Group, 9> kGroups = {
    Group{Op::kQkv, Op::kAttnCore, Op::kAttnOut, Op::kFfn},
    {Op::kQkv, Op::kAttnCore, Op::kAttnOut},
    {Op::kQkv, Op::kAttnOut},
    {Op::kFfn},
    {Op::kQkv},
    {Op::kAttnCore},
    {Op::kAttnOut},
    {Op::kEmbed},
    {Op::kHead},
};

struct PhaseSet {
  bool prefill, decode;
};
constexpr std::array<PhaseSet, 3> kPhaseSets = {{{true, false}, {true, true}, {false, true}}};

class Refiner {
 public:
  Refiner(const CostTable& table, const Plan& start, const PlanJudge& judge)
      : table_(table),
        judge_(judge),
        nodes_(forward_pass(table.model.layer_count())),
        kinds_(table.model.nodes()),
        best_(with_all_devices(start)),
        best_us_(judge(best_)) {}

  Plan run() {
    for (uint32_t pass = 0; pass < kMaxPasses; ++pass) {
      const double before = best_us_;
      for (const Group& group : kGroups)
        for (uint32_t to = 0; to < table_.devices.size(); ++to)
          for (const PhaseSet& phases : kPhaseSets) move_layers(group, to, phases);
      if (best_us_ > before * (1 - kLeastGain)) break;
    }
    return best_;
  }

 private:
  Plan with_all_devices(const Plan& start) const {
    Plan plan = start;
    for (std::vector<uint32_t>* list : {&plan.prefill, &plan.decode})
      for (uint32_t& device : *list) device = table_.device(start.devices[device]);
    plan.devices.clear();
    for (const DeviceCost& device : table_.devices) plan.devices.push_back(device.name);
    return plan;
  }

  // The group's nodes of all layers that have one elsewhere, of half of those, of a quarter: the
  // first layers or the last.
  void move_layers(const Group& group, uint32_t to, PhaseSet phases) {
    for (size_t share = 1;; share *= 2) {
      std::vector<uint16_t> layers = layers_elsewhere(group, to, phases);
      const size_t count = layers.size() / share;
      if (count == 0) return;
      for (bool first : {true, false}) {
        // An improvement changes which layers are left.
        if (!first) layers = layers_elsewhere(group, to, phases);
        if (layers.size() < count) continue;
        const uint16_t from = first ? layers.front() : layers[layers.size() - count];
        const uint16_t last = first ? layers[count - 1] : layers.back();
        try_moving(group, to, phases, from, last);
      }
    }
  }

  std::vector<uint16_t> layers_elsewhere(const Group& group, uint32_t to, PhaseSet phases) const {
    std::vector<uint16_t> layers;
    for (size_t i = 0; i < nodes_.size(); ++i) {
      const bool elsewhere =
          (phases.prefill && best_.prefill[i] != to) || (phases.decode && best_.decode[i] != to);
      if (elsewhere && in(group, nodes_[i].op) &&
          (layers.empty() || layers.back() != nodes_[i].layer))
        layers.push_back(nodes_[i].layer);
    }
    return layers;
  }

  void try_moving(const Group& group, uint32_t to, PhaseSet phases, uint16_t first, uint16_t last) {
    Plan plan = best_;
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (!in(group, nodes_[i].op) || nodes_[i].layer < first || nodes_[i].layer > last) continue;
      const NodeCost& cost = table_.devices[to].node(kinds_[i]);
      if (phases.prefill && !cost.phase(Phase::kPrefill).supported()) return;
      if (phases.decode && !cost.phase(Phase::kDecode).supported()) return;
      if (phases.prefill) plan.prefill[i] = to;
      if (phases.decode) plan.decode[i] = to;
    }
    const double us = judge_(plan);
    if (us >= best_us_ * (1 - kLeastGain)) return;
    best_ = std::move(plan);
    best_us_ = us;
  }

  static bool in(const Group& group, Op op) {
    return std::find(group.begin(), group.end(), op) != group.end();
  }

  const CostTable& table_;
  const PlanJudge& judge_;
  std::vector<Node> nodes_;
  std::vector<NodeKind> kinds_;
  Plan best_;
  double best_us_;
};

}  // namespace

Plan refine(const CostTable& table, const Plan& start, const PlanJudge& judge) {
  return Refiner(table, start, judge).run();
}

}  // namespace tandem
