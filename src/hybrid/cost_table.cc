// SPDX-License-Identifier: Apache-2.0
#include "hybrid/cost_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <span>

#include "base/check.h"
#include "base/error.h"

namespace tandem {
namespace {

double line(double x, double x0, double y0, double x1, double y1) {
  return x1 == x0 ? y0 : y0 + (x - x0) / (x1 - x0) * (y1 - y0);
}

// The two neighbours in ascending `values` whose straight line serves `x`.
template <typename Item, typename Key>
std::pair<size_t, size_t> neighbours(std::span<const Item> values, double x, Key key) {
  if (values.size() == 1) return {0, 0};
  size_t upper = 1;
  while (upper + 1 < values.size() && key(values[upper]) < x) ++upper;
  return {upper - 1, upper};
}

NodeTime at_position(std::span<const CostPoint> points, uint32_t position) {
  const auto [i, j] = neighbours(points, position, [](const CostPoint& p) { return p.position; });
  const CostPoint &a = points[i], &b = points[j];
  return {line(position, a.position, a.us, b.position, b.us),
          line(position, a.position, a.bytes, b.position, b.bytes)};
}

}  // namespace

NodeTime PhaseCost::at(uint32_t rows, uint32_t position) const {
  TANDEM_CHECK(supported() && !points.empty(), "no costs of an unsupported node");
  std::vector<std::span<const CostPoint>> groups;  // of equal rows
  for (size_t first = 0; first < points.size();) {
    size_t end = first;
    while (end < points.size() && points[end].rows == points[first].rows) ++end;
    groups.emplace_back(points.data() + first, end - first);
    first = end;
  }
  const auto rows_of = [](const std::span<const CostPoint>& group) { return group.front().rows; };
  const auto [i, j] =
      neighbours(std::span<const std::span<const CostPoint>>(groups), rows, rows_of);
  const NodeTime a = at_position(groups[i], position);
  const double first_rows = rows_of(groups[i]);
  const NodeTime part{a.us * rows / first_rows, a.bytes * rows / first_rows};
  if (i == j) return part;
  const NodeTime b = at_position(groups[j], position);
  const double last_rows = rows_of(groups[j]);
  const NodeTime on_line{line(rows, first_rows, a.us, last_rows, b.us),
                         line(rows, first_rows, a.bytes, last_rows, b.bytes)};
  if (rows < first_rows)  // the fixed part stays, as far as noise lets it be seen
    return {std::clamp(on_line.us, part.us, a.us), std::clamp(on_line.bytes, part.bytes, a.bytes)};
  return {std::max(0.0, on_line.us), std::max(0.0, on_line.bytes)};
}

uint32_t CostTable::device(std::string_view name) const {
  std::string names;
  for (uint32_t i = 0; i < devices.size(); ++i) {
    if (devices[i].name == name) return i;
    names += (i == 0 ? "" : ", ") + devices[i].name;
  }
  throw Error(ErrorCode::kUsage,
              fmt::format("{} has no device '{}'; it has {}", machine, name, names));
}

std::vector<uint32_t> CostTable::chunks() const {
  std::vector<uint32_t> common;
  bool first = true;
  for (const DeviceCost& device : devices)
    for (const NodeCost& node : device.nodes) {
      if (&node == &device.node(NodeKind::kHead)) continue;  // counted in outputs
      std::vector<uint32_t> rows;
      for (const CostPoint& point : node.phase(Phase::kPrefill).points)
        if (rows.empty() || rows.back() != point.rows) rows.push_back(point.rows);
      if (rows.empty()) continue;
      std::vector<uint32_t> both;
      std::set_intersection(common.begin(), common.end(), rows.begin(), rows.end(),
                            std::back_inserter(both));
      common = first ? rows : both;
      first = false;
    }
  return common;
}

}  // namespace tandem
