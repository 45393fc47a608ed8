// SPDX-License-Identifier: Apache-2.0
#include "hybrid/plan_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <utility>

#include "base/error.h"
#include "base/json_value.h"
#include "hybrid/json_place.h"
#include "model/kv_cache.h"

namespace tandem {
namespace {

// Bounds of sense: a step's buffers, and their copies in flight, must be countable.
constexpr uint32_t kMaxChunk = 1 << 16, kMaxDepth = 64;

constexpr std::array kNodeOps = {Op::kEmbed,   Op::kQkv, Op::kAttnCore,
                                 Op::kAttnOut, Op::kFfn, Op::kHead};

using LayerRange = std::pair<uint32_t, uint32_t>;  // first and last

// One entry of "prefill" or "decode".
struct Rule {
  std::vector<Op> ops;
  std::vector<LayerRange> layers;  // empty for nodes outside the layers
  uint32_t device = 0;

  bool covers(const Node& node) const {
    if (std::find(ops.begin(), ops.end(), node.op) == ops.end()) return false;
    return !in_layer(node.op) ||
           std::any_of(layers.begin(), layers.end(), [&](const LayerRange& range) {
             return node.layer >= range.first && node.layer <= range.second;
           });
  }
};

// Takes one document apart.
class PlanReader {
 public:
  PlanReader(const JsonPlace& place, uint32_t layer_count)
      : root_(place), layer_count_(layer_count), nodes_(forward_pass(layer_count)) {}

  Plan read() {
    root_.allow_only({"model", "devices", "chunk", "pipeline_depth", "kv", "prefill", "decode"});
    read_model();
    read_devices();
    if (const auto chunk = root_.find("chunk"))
      plan_.chunk = static_cast<uint32_t>(chunk->whole(1, kMaxChunk));
    if (const auto depth = root_.find("pipeline_depth"))
      plan_.pipeline_depth = static_cast<uint32_t>(depth->whole(1, kMaxDepth));
    if (const auto kv = root_.find("kv")) {
      plan_.kv = find_kv_type(kv->text());
      if (!plan_.kv) kv->fail(fmt::format("is none of {}", kKvTypeNames));
    }
    plan_.prefill = read_phase(root_.at("prefill"));
    plan_.decode = read_phase(root_.at("decode"));
    return plan_;
  }

 private:
  void read_model() {
    const JsonPlace model = root_.at("model");
    plan_.model = model.text();
    const std::string expected = model_label(layer_count_);
    if (plan_.model != expected)
      model.fail(fmt::format("is \"{}\" and the model is \"{}\" ({} layers); give a plan for this "
                             "model, `tandem plan` makes one",
                             plan_.model, expected, layer_count_),
                 ErrorCode::kUsage);
  }

  void read_devices() {
    const JsonPlace devices = root_.at("devices");
    const std::vector<JsonPlace> names = devices.items();
    if (names.empty() || names.size() > kMaxPlanDevices)
      devices.fail(
          fmt::format("lists {} devices, expected 1 to {}", names.size(), kMaxPlanDevices));
    for (const JsonPlace& device : names) {
      const std::string name = device.text();
      if (std::find(plan_.devices.begin(), plan_.devices.end(), name) != plan_.devices.end())
        device.fail(fmt::format("is \"{}\", which is listed already; remove one of them", name));
      plan_.devices.push_back(name);
    }
  }

  std::vector<uint32_t> read_phase(const JsonPlace& phase) const {
    constexpr uint32_t kNone = UINT32_MAX;
    std::vector<uint32_t> devices(nodes_.size(), kNone), rule_of(nodes_.size(), kNone);
    const std::vector<JsonPlace> rules = phase.items();
    for (uint32_t r = 0; r < rules.size(); ++r) {
      const Rule rule = read_rule(rules[r]);
      for (size_t i = 0; i < nodes_.size(); ++i) {
        if (!rule.covers(nodes_[i])) continue;
        if (rule_of[i] != kNone)
          rules[r].fail(fmt::format("covers {}, as rule {} does; remove it from one of them",
                                    node_name(nodes_[i]), rule_of[i]));
        rule_of[i] = r;
        devices[i] = rule.device;
      }
    }
    const auto left_out = std::find(rule_of.begin(), rule_of.end(), kNone);
    if (left_out != rule_of.end())
      phase.fail(fmt::format("has no rule for {}; {} of {} nodes are left out: give each a device",
                             node_name(nodes_[static_cast<size_t>(left_out - rule_of.begin())]),
                             std::count(rule_of.begin(), rule_of.end(), kNone), nodes_.size()));
    return devices;
  }

  Rule read_rule(const JsonPlace& place) const {
    place.allow_only({"nodes", "layers", "device"});
    Rule rule;
    const JsonPlace nodes = place.at("nodes");
    for (const JsonPlace& node : nodes.items()) rule.ops.push_back(read_op(node, rule.ops));
    if (rule.ops.empty()) nodes.fail("is an empty list; name a node");
    if (in_layer(rule.ops.front()))
      rule.layers = read_layers(place.at("layers"));
    else if (const auto layers = place.find("layers"))
      layers->fail("is given for embed and head, which are not part of a layer; remove it");
    const JsonPlace device = place.at("device");
    const auto at = std::find(plan_.devices.begin(), plan_.devices.end(), device.text());
    if (at == plan_.devices.end())
      device.fail(fmt::format("is \"{}\", which /devices lacks: it has {}; add it there",
                              device.text(), fmt::join(plan_.devices, ", ")));
    rule.device = static_cast<uint32_t>(at - plan_.devices.begin());
    return rule;
  }

  // `before` are the rule's nodes so far.
  static Op read_op(const JsonPlace& place, const std::vector<Op>& before) {
    const std::string name = place.text();
    const auto op = std::find_if(kNodeOps.begin(), kNodeOps.end(),
                                 [&](Op o) { return op_info(o).name == name; });
    if (op == kNodeOps.end())
      place.fail(fmt::format("is \"{}\"; the nodes are embed, qkv, core, out, ffn and head", name));
    if (std::find(before.begin(), before.end(), *op) != before.end())
      place.fail(fmt::format("is \"{}\", which is listed already; remove one of them", name));
    if (!before.empty() && in_layer(*op) != in_layer(before.front()))
      place.fail("mixes nodes of layers with embed or head; give those rules of their own");
    return *op;
  }

  // "all", "0-15,20" or [0, 15].
  std::vector<LayerRange> read_layers(const JsonPlace& place) const {
    const uint32_t last = layer_count_ - 1;
    std::vector<LayerRange> ranges;
    if (place.is_array()) {
      const std::vector<JsonPlace> ends = place.items();
      if (ends.size() != 2) place.fail(kNoLayers);
      ranges.push_back({static_cast<uint32_t>(ends[0].whole(0, last)),
                        static_cast<uint32_t>(ends[1].whole(0, last))});
    } else if (!place.is_text()) {
      place.fail(kNoLayers);
    } else if (place.text() == "all") {
      ranges.push_back({0, last});
    } else {
      ranges = parse_ranges(place);
    }
    for (const LayerRange& range : ranges) {
      if (range.second > last)
        place.fail(fmt::format("has layer {}; the model's last is {}", range.second, last));
      if (range.first > range.second)
        place.fail(fmt::format("has {}-{}, which runs backwards", range.first, range.second));
    }
    refuse_overlap(place, ranges);
    return ranges;
  }

  static void refuse_overlap(const JsonPlace& place, std::vector<LayerRange> ranges) {
    std::sort(ranges.begin(), ranges.end());
    for (size_t i = 1; i < ranges.size(); ++i)
      if (ranges[i].first <= ranges[i - 1].second)
        place.fail(fmt::format("has layer {} twice; remove one of them", ranges[i].first));
  }

  static std::vector<LayerRange> parse_ranges(const JsonPlace& place) {
    const std::string text = place.text();
    std::vector<LayerRange> ranges;
    const char* at = text.data();
    const char* const end = at + text.size();
    const auto take = [&](uint32_t& layer) {
      const auto [next, problem] = std::from_chars(at, end, layer);
      if (problem != std::errc()) place.fail(kNoLayers);
      at = next;
    };
    do {
      if (!ranges.empty()) ++at;  // the comma
      LayerRange range;
      take(range.first);
      range.second = range.first;
      if (at != end && *at == '-') {
        ++at;
        take(range.second);
      }
      ranges.push_back(range);
    } while (at != end && *at == ',');
    if (at != end) place.fail(kNoLayers);
    return ranges;
  }

  static constexpr std::string_view kNoLayers = "is none of \"all\", \"0-15,20\" and [0, 15]";

  JsonPlace root_;
  uint32_t layer_count_;
  std::vector<Node> nodes_;
  Plan plan_;
};

// "0-15,20" for the layers that `on` holds, "all" where it holds every one.
std::string format_layers(const std::vector<bool>& on) {
  std::string text;
  for (size_t first = 0; first < on.size(); ++first) {
    if (!on[first]) continue;
    size_t last = first;
    while (last + 1 < on.size() && on[last + 1]) ++last;
    if (first == 0 && last + 1 == on.size()) return "all";
    text += fmt::format("{}{}", text.empty() ? "" : ",", first);
    if (last > first) text += fmt::format("-{}", last);
    first = last;
  }
  return text;
}

std::string in_quotes(std::string_view text) { return to_text(Json(text)); }

template <typename Names>
std::string list_of(const Names& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ", ") + in_quotes(name);
  return text;
}

// One line per rule: the nodes that have a device and a set of layers in common.
std::string format_phase(const Plan& plan, const std::vector<uint32_t>& devices,
                         uint32_t layer_count) {
  const std::vector<Node> nodes = forward_pass(layer_count);
  std::vector<std::string> rules;
  for (uint32_t device = 0; device < plan.devices.size(); ++device) {
    std::map<std::string, std::vector<std::string_view>> by_layers;  // "" outside the layers
    for (Op op : kNodeOps) {
      std::vector<bool> on(layer_count, false);
      bool any = false;
      for (size_t i = 0; i < nodes.size(); ++i)
        if (nodes[i].op == op && devices[i] == device) any = on[nodes[i].layer] = true;
      if (any) by_layers[in_layer(op) ? format_layers(on) : ""].push_back(op_info(op).name);
    }
    for (const auto& [layers, names] : by_layers)
      rules.push_back(
          fmt::format(R"(    {{"nodes": [{}], {}"device": {}}})", list_of(names),
                      layers.empty() ? "" : fmt::format(R"("layers": {}, )", in_quotes(layers)),
                      in_quotes(plan.devices[device])));
  }
  return fmt::format("[\n{}\n  ]", fmt::join(rules, ",\n"));
}

}  // namespace

Plan parse_plan(std::string_view json, const std::string& file_name, const ModelConfig& config) {
  const Json document = parse_json(json, file_name);
  return plan_at(JsonPlace(document, file_name), static_cast<uint32_t>(config.layers.size()));
}

Plan read_plan(const std::filesystem::path& path, const ModelConfig& config) {
  const Json document = read_json(path);
  return plan_at(JsonPlace(document, path.string()), static_cast<uint32_t>(config.layers.size()));
}

Plan plan_at(const JsonPlace& place, uint32_t layer_count) {
  return PlanReader(place, layer_count).read();
}

std::string format_plan(const Plan& plan, const ModelConfig& config) {
  const auto layer_count = static_cast<uint32_t>(config.layers.size());
  std::string text = fmt::format("{{\n  \"model\": {},\n  \"devices\": [{}],\n",
                                 in_quotes(plan.model), list_of(plan.devices));
  if (plan.chunk != 0) text += fmt::format("  \"chunk\": {},\n", plan.chunk);
  if (plan.pipeline_depth != 1)
    text += fmt::format("  \"pipeline_depth\": {},\n", plan.pipeline_depth);
  if (plan.kv) text += fmt::format("  \"kv\": {},\n", in_quotes(kv_type_name(*plan.kv)));
  return text + fmt::format("  \"prefill\": {},\n  \"decode\": {}\n}}\n",
                            format_phase(plan, plan.prefill, layer_count),
                            format_phase(plan, plan.decode, layer_count));
}

}  // namespace tandem
