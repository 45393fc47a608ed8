// Routes of text that was routed already: the settings of switch boxes followed from every port
// where a stream begins to those where it ends.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <set>

#include "npu/aie_text/lowering.h"
#include "npu/aie_text/switch_ports.h"

namespace tandem::npu {
namespace {

using mlir::Operation;
using mlir::ValueId;

constexpr int kCircuit = -1;  // as a packet id: the stream has none
constexpr int kPacketIds = 32;

struct PacketRule {
  int mask = 0, value = 0;
  ValueId amsel = -1;
  SourceLocation location;
};

struct SwitchBox {
  std::map<SwitchPort, std::vector<SwitchPort>> circuits;
  std::map<SwitchPort, std::vector<PacketRule>> rules;
  std::map<ValueId, std::vector<SwitchPort>> masters;  // by amsel
  std::map<ValueId, int> arbiters;                     // by amsel
  std::set<SwitchPort> outputs;                        // used so far
  std::set<SwitchPort> keeps_header;
  SourceLocation location;
};

const std::map<std::string_view, PortKind> kEnds = {{"DMA", PortKind::kDma},
                                                    {"Core", PortKind::kCore},
                                                    {"Trace", PortKind::kTrace},
                                                    {"TileControl", PortKind::kTileControl}};

// The compass ports of a multiplexer are those of the switch above it.
constexpr int kArbiters = 6, kSelections = 4, kRules = 4;

SwitchPort read_port(const DeviceLowering& lowering, const Operation& op, const std::string& end) {
  const std::string text = text_of(lowering, op, end + "_bundle");
  const std::string bundle = bundle_name(text);
  if (bundle.empty()) lowering.fail(op.location, fmt::format("'{}' is no port of a switch", text));
  return {bundle, static_cast<int>(integer_in(lowering, op, end + "_channel", 0, 31))};
}

class SwitchReader {
 public:
  explicit SwitchReader(DeviceLowering& lowering) : lowering_(lowering) {}

  void read(const Operation& op) {
    const TileCoordinate tile = lowering_.tile_operand(op, 0);
    is_mux_ = op.name == "aie.shim_mux";
    if (is_mux_ && lowering_.kind(tile) != TileKind::kShim)
      lowering_.fail(op.location, fmt::format("tile {} has no aie.shim_mux", to_text(tile)));
    if (op.regions.empty()) lowering_.fail(op.location, op.name + " needs a body");
    tile_ = tile;
    SwitchBox& box = (is_mux_ ? muxes_ : boxes_)[tile];
    box.location = op.location;
    mlir::walk(*op.regions[0], [&](const Operation& inner) {
      if (inner.name == "aie.connect") {
        read_connect(box, inner);
      } else if (inner.name == "aie.amsel") {
        const int64_t arbiter = integer_in(lowering_, inner, "arbiterID", 0, kArbiters - 1);
        integer_in(lowering_, inner, "msel", 0, kSelections - 1);
        if (!inner.results.empty()) box.arbiters[inner.results[0]] = static_cast<int>(arbiter);
      } else if (inner.name == "aie.masterset") {
        read_masterset(box, inner);
      } else if (inner.name == "aie.packet_rules") {
        read_rules(box, inner);
      } else if (inner.name != "aie.end") {
        lowering_.fail(inner.location,
                       fmt::format("{} does not belong in {}", inner.name, op.name));
      }
      return false;
    });
    for (const auto& [source, rules] : box.rules)
      for (const PacketRule& rule : rules)
        for (const SwitchPort& out : box.masters[rule.amsel])
          check_connection(source, out, rule.location);
  }

  void add_routes() {
    for (const auto& [tile, box] : boxes_) {
      std::set<SwitchPort> inputs;
      for (const auto& [port, unused] : box.circuits) inputs.insert(port);
      for (const auto& [port, unused] : box.rules) inputs.insert(port);
      for (const SwitchPort& port : inputs)
        if (kEnds.contains(port.bundle)) follow_from(tile, port, stream_port(box, tile, port));
    }
    for (const auto& [tile, mux] : muxes_)
      for (const auto& [from, targets] : mux.circuits)
        if (from.bundle == "DMA")
          for (const SwitchPort& target : targets)
            follow_from(tile, {"South", target.index}, stream_port(mux, tile, from));
  }

 private:
  void read_connect(SwitchBox& box, const Operation& op) {
    const SwitchPort source = read_port(lowering_, op, "source");
    const SwitchPort target = read_port(lowering_, op, "dest");
    check_connection(source, target, op.location);
    take_output(box, target, op.location);
    box.circuits[source].push_back(target);
  }

  void read_masterset(SwitchBox& box, const Operation& op) {
    const SwitchPort port = read_port(lowering_, op, "dest");
    if (port.index >= switch_outputs(lowering_.out, tile_, port.bundle)) refuse(port, "output", op);
    take_output(box, port, op.location);
    int arbiter = -1;
    for (const ValueId amsel : op.operands) {
      const auto found = box.arbiters.find(amsel);
      if (found == box.arbiters.end())
        lowering_.fail(op.location, "the operands of aie.masterset are results of aie.amsel");
      if (arbiter >= 0 && found->second != arbiter)
        lowering_.fail(op.location, "an output takes packets from one arbiter only");
      arbiter = found->second;
      box.masters[amsel].push_back(port);
    }
    if (flag_of(op, "keep_pkt_header")) box.keeps_header.insert(port);
  }

  [[noreturn]] void refuse(const SwitchPort& port, const char* direction, const Operation& op) {
    lowering_.fail(op.location, fmt::format("the switch of tile {} has no {} {}", to_text(tile_),
                                            direction, to_text(port)));
  }

  void take_output(SwitchBox& box, const SwitchPort& port, SourceLocation location) {
    if (!box.outputs.insert(port).second)
      lowering_.fail(location, fmt::format("output {} of tile {} is connected already",
                                           to_text(port), to_text(tile_)));
  }

  void check_connection(const SwitchPort& from, const SwitchPort& to, SourceLocation location) {
    const bool legal = is_mux_ ? shim_mux_connects(from, to)
                               : from.index < switch_inputs(lowering_.out, tile_, from.bundle) &&
                                     to.index < switch_outputs(lowering_.out, tile_, to.bundle) &&
                                     switch_connects(lowering_.kind(tile_), from, to);
    if (!legal)
      lowering_.fail(location,
                     fmt::format("illegal stream switch connection: the {} of tile {} has no way "
                                 "from {} to {}",
                                 is_mux_ ? "shim multiplexer" : "switch", to_text(tile_),
                                 to_text(from), to_text(to)));
  }

  void read_rules(SwitchBox& box, const Operation& op) {
    const SwitchPort source = read_port(lowering_, op, "source");
    if (source.index >= switch_inputs(lowering_.out, tile_, source.bundle))
      refuse(source, "input", op);
    if (box.circuits.contains(source) || box.rules.contains(source))
      lowering_.fail(op.location, fmt::format("input {} of tile {} is connected already",
                                              to_text(source), to_text(tile_)));
    if (op.regions.empty()) lowering_.fail(op.location, "aie.packet_rules needs a body");
    std::vector<PacketRule>& rules = box.rules[source];
    mlir::walk(*op.regions[0], [&](const Operation& inner) {
      if (inner.name != "aie.rule" || inner.operands.empty()) return false;
      rules.push_back({static_cast<int>(integer_in(lowering_, inner, "mask", 0, kPacketIds - 1)),
                       static_cast<int>(integer_in(lowering_, inner, "value", 0, kPacketIds - 1)),
                       inner.operands[0], inner.location});
      return false;
    });
    if (rules.size() > kRules)
      lowering_.fail(op.location,
                     fmt::format("an input has {} packet rules, not {}", kRules, rules.size()));
  }

  StreamPort stream_port(const SwitchBox& box, TileCoordinate tile, const SwitchPort& port) const {
    const PortKind kind = kEnds.at(port.bundle);
    const auto channels = static_cast<int>(lowering_.limits(tile).channels);
    if (kind == PortKind::kDma && port.index >= channels)
      lowering_.fail(box.location, fmt::format("tile {} has DMA channels 0 to {}, not {}",
                                               to_text(tile), channels - 1, port.index));
    return {tile, kind, port.index};
  }

  // The circuit that begins here, then the way of every packet id that some rule names.
  void follow_from(TileCoordinate tile, const SwitchPort& port, const StreamPort& source) {
    for (int id = kCircuit; id < kPacketIds; ++id) {
      source_ = source;
      id_ = id;
      visited_.clear();
      follow(tile, port, false);
    }
  }

  void follow(TileCoordinate tile, const SwitchPort& port, bool used_rule) {
    const auto found = boxes_.find(tile);
    if (found == boxes_.end() || !visited_.insert({tile, port}).second) return;
    const SwitchBox& box = found->second;
    if (const auto circuit = box.circuits.find(port); circuit != box.circuits.end())
      for (const SwitchPort& out : circuit->second) leave(box, tile, out, used_rule);
    const auto rules = box.rules.find(port);
    if (id_ == kCircuit || rules == box.rules.end()) return;
    for (const PacketRule& rule : rules->second) {
      if ((id_ & rule.mask) != rule.value) continue;
      if (const auto masters = box.masters.find(rule.amsel); masters != box.masters.end())
        for (const SwitchPort& out : masters->second) leave(box, tile, out, true);
      return;  // the first rule that matches decides
    }
  }

  void leave(const SwitchBox& box, TileCoordinate tile, const SwitchPort& out, bool used_rule) {
    if (kEnds.contains(out.bundle)) {
      arrive(box, stream_port(box, tile, out), box.keeps_header.contains(out), used_rule);
    } else if (out.bundle == "North") {
      follow({tile.column, tile.row + 1}, {"South", out.index}, used_rule);
    } else if (out.bundle == "East") {
      follow({tile.column + 1, tile.row}, {"West", out.index}, used_rule);
    } else if (out.bundle == "West") {
      follow({tile.column - 1, tile.row}, {"East", out.index}, used_rule);
    } else if (out.bundle == "South" && tile.row > 0) {
      follow({tile.column, tile.row - 1}, {"North", out.index}, used_rule);
    } else if (out.bundle == "South") {
      const auto mux = muxes_.find(tile);
      if (mux == muxes_.end()) return;
      const auto circuit = mux->second.circuits.find({"North", out.index});
      if (circuit == mux->second.circuits.end()) return;
      for (const SwitchPort& end : circuit->second)
        if (kEnds.contains(end.bundle))
          arrive(box, stream_port(mux->second, tile, end), box.keeps_header.contains(out),
                 used_rule);
    }
  }

  void arrive(const SwitchBox& box, const StreamPort& destination, bool keeps_header,
              bool used_rule) {
    if ((id_ == kCircuit) == used_rule) return;  // the circuit is found once, without an id
    // A router leaves the flows it has routed in the text.
    for (const Route& known : lowering_.out.routes)
      if (known.source == source_ && known.destination == destination && known.packet_id == id_)
        return;
    lowering_.out.routes.push_back({source_, destination, id_, keeps_header, box.location});
  }

  DeviceLowering& lowering_;
  std::map<TileCoordinate, SwitchBox> boxes_, muxes_;
  TileCoordinate tile_;  // of the box being read
  bool is_mux_ = false;
  StreamPort source_;
  int id_ = kCircuit;
  std::set<std::pair<TileCoordinate, SwitchPort>> visited_;
};

}  // namespace

void lower_switches(DeviceLowering& lowering) {
  SwitchReader reader(lowering);
  mlir::walk(*lowering.operation.regions[0], [&](const Operation& op) {
    if (op.name == "aie.switchbox" || op.name == "aie.shim_mux") reader.read(op);
    return false;
  });
  reader.add_routes();
}

}  // namespace tandem::npu
