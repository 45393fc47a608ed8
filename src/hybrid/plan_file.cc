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
#include "model/kv_cache.h"

namespace tandem {
namespace {

// Bounds of sense: a step's buffers, and their copies in flight, must be countable.
constexpr uint32_t kMaxChunk = 1 << 16, kMaxDepth = 64, kMaxDevices = 64;

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

// Takes one document apart. Every failure names the file and the JSON pointer of the place.
class PlanReader {
 public:
  PlanReader(const Json& root, const std::string& file_name, const ModelConfig& config)
      : root_(root),
        file_name_(file_name),
        layer_count_(static_cast<uint32_t>(config.layers.size())),
        nodes_(forward_pass(layer_count_)) {}

  Plan read() {
    constexpr std::array<std::string_view, 7> kKeys = {
        "model", "devices", "chunk", "pipeline_depth", "kv", "prefill", "decode"};
    check_object(root_, "", kKeys);
    read_model();
    read_devices();
    if (root_.contains("chunk")) plan_.chunk = number(root_["chunk"], "/chunk", 1, kMaxChunk);
    if (root_.contains("pipeline_depth"))
      plan_.pipeline_depth = number(root_["pipeline_depth"], "/pipeline_depth", 1, kMaxDepth);
    if (root_.contains("kv")) read_kv();
    plan_.prefill = read_phase("prefill");
    plan_.decode = read_phase("decode");
    return plan_;
  }

 private:
  [[noreturn]] void fail(std::string_view place, std::string_view reason,
                         ErrorCode code = ErrorCode::kInvalidFile) const {
    throw Error(code,
                fmt::format("{}: {}{}{}", file_name_, place, place.empty() ? "" : ": ", reason));
  }

  // An object with no other keys than these.
  void check_object(const Json& value, const std::string& place,
                    std::span<const std::string_view> keys) const {
    if (!value.is_object())
      fail(place, fmt::format("{} is no object; docs/execution-plan.md shows one",
                              place.empty() ? "the plan" : "the rule"));
    for (const auto& [key, entry] : value.items())
      if (std::find(keys.begin(), keys.end(), key) == keys.end())
        fail(fmt::format("{}/{}", place, key),
             fmt::format("unknown key; there are {}", fmt::join(keys, ", ")));
  }

  const Json& require(const Json& object, const std::string& place, const char* key) const {
    const auto entry = object.find(key);
    if (entry == object.end()) fail(place, fmt::format("the key \"{}\" is missing; add it", key));
    return *entry;
  }

  std::string text(const Json& value, const std::string& place) const {
    if (!value.is_string()) fail(place, fmt::format("{} is no text in quotes", to_text(value)));
    return value.get<std::string>();
  }

  uint32_t number(const Json& value, const std::string& place, uint32_t least,
                  uint32_t most) const {
    if (!value.is_number_unsigned() || value.get<uint64_t>() < least ||
        value.get<uint64_t>() > most)
      fail(place, fmt::format("{} is no whole number from {} to {}", to_text(value), least, most));
    return value.get<uint32_t>();
  }

  const Json& list(const Json& value, const std::string& place) const {
    if (!value.is_array() || value.empty())
      fail(place, fmt::format("{} is no list with entries", to_text(value).substr(0, 40)));
    return value;
  }

  void read_model() {
    const std::string expected = model_label(layer_count_);
    plan_.model = text(require(root_, "", "model"), "/model");
    if (plan_.model != expected)
      fail("/model",
           fmt::format("the plan is for \"{}\" and the model is \"{}\" ({} layers); give a plan "
                       "for this model, `tandem plan` makes one",
                       plan_.model, expected, layer_count_),
           ErrorCode::kUsage);
  }

  void read_devices() {
    const Json& devices = list(require(root_, "", "devices"), "/devices");
    if (devices.size() > kMaxDevices)
      fail("/devices",
           fmt::format("{} devices, at most {} are allowed", devices.size(), kMaxDevices));
    for (size_t i = 0; i < devices.size(); ++i) {
      const std::string place = fmt::format("/devices/{}", i);
      const std::string name = text(devices[i], place);
      if (std::find(plan_.devices.begin(), plan_.devices.end(), name) != plan_.devices.end())
        fail(place, fmt::format("\"{}\" is listed already; remove one of them", name));
      plan_.devices.push_back(name);
    }
  }

  void read_kv() {
    const std::string name = text(root_["kv"], "/kv");
    plan_.kv = find_kv_type(name);
    if (!plan_.kv) fail("/kv", fmt::format("cache type \"{}\" is none of {}", name, kKvTypeNames));
  }

  std::vector<uint32_t> read_phase(const char* phase) const {
    constexpr uint32_t kNone = UINT32_MAX;
    const std::string place = fmt::format("/{}", phase);
    const Json& rules = list(require(root_, "", phase), place);
    std::vector<uint32_t> devices(nodes_.size(), kNone), rule_of(nodes_.size(), kNone);
    for (uint32_t r = 0; r < rules.size(); ++r) {
      const std::string rule_place = fmt::format("{}/{}", place, r);
      const Rule rule = read_rule(rules[r], rule_place);
      for (size_t i = 0; i < nodes_.size(); ++i) {
        if (!rule.covers(nodes_[i])) continue;
        if (rule_of[i] != kNone)
          fail(rule_place, fmt::format("{} is covered by {}/{} already; remove it from one of them",
                                       node_name(nodes_[i]), place, rule_of[i]));
        rule_of[i] = r;
        devices[i] = rule.device;
      }
    }
    const auto left_out = std::find(rule_of.begin(), rule_of.end(), kNone);
    if (left_out != rule_of.end())
      fail(place, fmt::format("no rule covers {}; {} of {} nodes are left out: give each a device",
                              node_name(nodes_[static_cast<size_t>(left_out - rule_of.begin())]),
                              std::count(rule_of.begin(), rule_of.end(), kNone), nodes_.size()));
    return devices;
  }

  Rule read_rule(const Json& value, const std::string& place) const {
    constexpr std::array<std::string_view, 3> kKeys = {"nodes", "layers", "device"};
    check_object(value, place, kKeys);
    Rule rule;
    const Json& names = list(require(value, place, "nodes"), place + "/nodes");
    for (size_t i = 0; i < names.size(); ++i)
      rule.ops.push_back(read_op(names[i], rule.ops, fmt::format("{}/nodes/{}", place, i)));
    const bool layered = in_layer(rule.ops.front());
    if (layered)
      rule.layers = read_layers(require(value, place, "layers"), place + "/layers");
    else if (value.contains("layers"))
      fail(place + "/layers", "embed and head are not part of a layer; remove the key");
    const std::string device = text(require(value, place, "device"), place + "/device");
    const auto at = std::find(plan_.devices.begin(), plan_.devices.end(), device);
    if (at == plan_.devices.end())
      fail(place + "/device", fmt::format("\"{}\" is not in /devices, which has {}; add it there",
                                          device, fmt::join(plan_.devices, ", ")));
    rule.device = static_cast<uint32_t>(at - plan_.devices.begin());
    return rule;
  }

  // `before` are the rule's nodes so far.
  Op read_op(const Json& value, const std::vector<Op>& before, const std::string& place) const {
    const std::string name = text(value, place);
    const auto op = std::find_if(kNodeOps.begin(), kNodeOps.end(),
                                 [&](Op o) { return op_info(o).name == name; });
    if (op == kNodeOps.end())
      fail(place, fmt::format("there is no node \"{}\"; there are embed, qkv, core, out, ffn, head",
                              name));
    if (std::find(before.begin(), before.end(), *op) != before.end())
      fail(place, fmt::format("\"{}\" is listed already; remove one of them", name));
    if (!before.empty() && in_layer(*op) != in_layer(before.front()))
      fail(place, "nodes of layers, and embed and head, which have none, need rules of their own");
    return *op;
  }

  // "all", "0-15,20" or [0, 15].
  std::vector<LayerRange> read_layers(const Json& value, const std::string& place) const {
    std::vector<LayerRange> ranges;
    const uint32_t last = layer_count_ - 1;
    if (value.is_array() && value.size() == 2) {
      ranges.push_back(
          {number(value[0], place + "/0", 0, last), number(value[1], place + "/1", 0, last)});
    } else if (value.is_string() && value == "all") {
      ranges.push_back({0, last});
    } else if (value.is_string()) {
      ranges = parse_ranges(value.get<std::string>(), place);
    } else {
      fail(place, fmt::format("{} is none of \"all\", \"0-15,20\" and [0, 15]",
                              to_text(value).substr(0, 40)));
    }
    for (const LayerRange& range : ranges) {
      if (range.second > last)
        fail(place, fmt::format("layer {} is beyond the model's last, {}", range.second, last));
      if (range.first > range.second)
        fail(place, fmt::format("{}-{} runs backwards", range.first, range.second));
    }
    return ranges;
  }

  std::vector<LayerRange> parse_ranges(const std::string& text, const std::string& place) const {
    std::vector<LayerRange> ranges;
    const char* at = text.data();
    const char* const end = at + text.size();
    const auto take = [&](uint32_t& layer) {
      const auto [next, problem] = std::from_chars(at, end, layer);
      if (problem != std::errc())
        fail(place, fmt::format("\"{}\" is none of \"all\", \"0-15,20\" and [0, 15]", text));
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
    if (at != end)
      fail(place, fmt::format("\"{}\" is none of \"all\", \"0-15,20\" and [0, 15]", text));
    return ranges;
  }

  const Json& root_;
  const std::string& file_name_;
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
  return PlanReader(parse_json(json, file_name), file_name, config).read();
}

Plan read_plan(const std::filesystem::path& path, const ModelConfig& config) {
  return PlanReader(read_json(path), path.string(), config).read();
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
