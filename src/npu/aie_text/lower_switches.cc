// Routes of text that was routed already: the settings of switch boxes followed from every port
// where a stream begins to those where it ends.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <set>

#include "npu/aie_text/lowering.h"

namespace tandem::npu {
namespace {

using mlir::Operation;
using mlir::ValueId;

constexpr int kCircuit = -1;  // as a packet id: the stream has none
constexpr int kPacketIds = 32;

// A side of a switch box: what enters there, or leaves.
struct SwitchPort {
  std::string bundle;
  int index = 0;
  friend auto operator<=>(const SwitchPort&, const SwitchPort&) = default;
};

struct PacketRule {
  int mask = 0, value = 0;
  ValueId amsel = -1;
};

struct SwitchBox {
  std::map<SwitchPort, std::vector<SwitchPort>> circuits;
  std::map<SwitchPort, std::vector<PacketRule>> rules;
  std::map<ValueId, std::vector<SwitchPort>> masters;  // by amsel
  std::set<SwitchPort> keeps_header;
  SourceLocation location;
};

const std::map<std::string_view, PortKind> kEnds = {{"DMA", PortKind::kDma},
                                                    {"Core", PortKind::kCore},
                                                    {"Trace", PortKind::kTrace},
                                                    {"TileControl", PortKind::kTileControl}};

SwitchPort read_port(const DeviceLowering& lowering, const Operation& op, const std::string& end) {
  return {text_of(lowering, op, end + "_bundle"),
          static_cast<int>(integer_in(lowering, op, end + "_channel", 0, 31))};
}

class SwitchReader {
 public:
  explicit SwitchReader(DeviceLowering& lowering) : lowering_(lowering) {}

  void read(const Operation& op) {
    const TileCoordinate tile = lowering_.tile_operand(op, 0);
    SwitchBox& box = (op.name == "aie.shim_mux" ? muxes_ : boxes_)[tile];
    box.location = op.location;
    mlir::walk(*op.regions[0], [&](const Operation& inner) {
      if (inner.name == "aie.connect") {
        box.circuits[read_port(lowering_, inner, "source")].push_back(
            read_port(lowering_, inner, "dest"));
      } else if (inner.name == "aie.masterset") {
        const SwitchPort port = read_port(lowering_, inner, "dest");
        for (const ValueId amsel : inner.operands) box.masters[amsel].push_back(port);
        if (flag_of(inner, "keep_pkt_header")) box.keeps_header.insert(port);
      } else if (inner.name == "aie.packet_rules") {
        read_rules(box, inner);
      }
      return false;
    });
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
  void read_rules(SwitchBox& box, const Operation& op) {
    std::vector<PacketRule>& rules = box.rules[read_port(lowering_, op, "source")];
    mlir::walk(*op.regions[0], [&](const Operation& inner) {
      if (inner.name != "aie.rule" || inner.operands.empty()) return false;
      rules.push_back({static_cast<int>(integer_in(lowering_, inner, "mask", 0, kPacketIds - 1)),
                       static_cast<int>(integer_in(lowering_, inner, "value", 0, kPacketIds - 1)),
                       inner.operands[0]});
      return false;
    });
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
