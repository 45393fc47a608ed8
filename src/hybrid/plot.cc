// SPDX-License-Identifier: Apache-2.0
#include "hybrid/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "backend/phase_name.h"
#include "hybrid/segment.h"

namespace tandem {
namespace {

constexpr double kWidth = 960, kLeft = 110, kRight = 20;
constexpr double kRoofTop = 40, kRoofHeight = 320;
constexpr double kLaneTop = 420, kLaneHeight = 34;
constexpr uint64_t kShownNs = 1000000000;
constexpr std::array kColours = {"#4363d8", "#e6194b", "#3cb44b", "#f58231", "#911eb4", "#469990"};
constexpr const char* kTransferColour = "#808080";

const char* colour(size_t device) { return kColours[device % kColours.size()]; }

std::string text_at(double x, double y, std::string_view anchor, std::string_view text) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n", x, y, anchor,
                     text);
}

std::string line(double x1, double y1, double x2, double y2, std::string_view stroke) {
  return fmt::format(
      "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\"/>\n", x1, y1, x2,
      y2, stroke);
}

// Names come from drivers.
std::string escaped(std::string_view name) {
  std::string text;
  for (char c : name) text += c == '<' ? "&lt;" : c == '&' ? "&amp;" : std::string(1, c);
  return text;
}

// What a device's programs did in one phase.
struct Point {
  size_t device;
  Phase phase;
  double intensity, rate;  // operations per byte and per second
};

std::vector<Point> points_of(const std::vector<PlotDevice>& devices) {
  std::vector<Point> points;
  for (size_t d = 0; d < devices.size(); ++d)
    for (Phase phase : {Phase::kPrefill, Phase::kDecode}) {
      double bytes = 0, operations = 0, seconds = 0;
      for (const TraceEvent& event : devices[d].lane.events) {
        if (event.kind != TraceKind::kRun || event.phase != phase) continue;
        bytes += static_cast<double>(event.bytes);
        operations += static_cast<double>(event.operations);
        seconds += 1e-9 * static_cast<double>(event.end_ns - event.start_ns);
      }
      if (bytes > 0 && operations > 0 && seconds > 0)
        points.push_back({d, phase, operations / bytes, operations / seconds});
    }
  return points;
}

// A logarithmic axis over whole decades.
struct Axis {
  double first, last;  // powers of ten
  double start, end;   // coordinates
  double place(double value) const {
    return start + (std::log10(value) - first) / (last - first) * (end - start);
  }
};

Axis axis_over(double least, double most, double start, double end) {
  return {std::floor(std::log10(least)) - 1, std::ceil(std::log10(most)) + 1, start, end};
}

std::string roofline(const std::vector<PlotDevice>& devices) {
  const std::vector<Point> points = points_of(devices);
  if (points.empty()) return text_at(kLeft, kRoofTop + 20, "start", "no programs were traced");
  double x_min = points[0].intensity, x_max = x_min, y_min = points[0].rate, y_max = y_min;
  for (const Point& p : points) {
    x_min = std::min(x_min, p.intensity);
    x_max = std::max(x_max, p.intensity);
    y_min = std::min(y_min, p.rate);
    y_max = std::max({y_max, p.rate, p.intensity * devices[p.device].bandwidth});  // the roof
  }
  const Axis x = axis_over(x_min, x_max, kLeft, kWidth - kRight);
  const Axis y = axis_over(y_min, y_max, kRoofTop + kRoofHeight, kRoofTop);
  std::string svg;
  for (double power = x.first; power <= x.last; ++power) {
    const double at = x.place(std::pow(10, power));
    svg += line(at, y.start, at, y.end, "#e0e0e0");
    svg += text_at(at, y.start + 16, "middle", fmt::format("{:g}", std::pow(10, power)));
  }
  for (double power = y.first; power <= y.last; ++power) {
    const double at = y.place(std::pow(10, power));
    svg += line(x.start, at, x.end, at, "#e0e0e0");
    svg +=
        text_at(x.start - 6, at + 4, "end", fmt::format("{:g} GFLOP/s", std::pow(10, power - 9)));
  }
  svg += text_at((x.start + x.end) / 2, y.start + 34, "middle", "operations per byte");
  for (size_t d = 0; d < devices.size(); ++d) {
    if (devices[d].bandwidth <= 0) continue;
    const double least =
        std::pow(10, std::max(x.first, y.first - std::log10(devices[d].bandwidth)));
    const double most = std::pow(10, std::min(x.last, y.last - std::log10(devices[d].bandwidth)));
    if (least >= most) continue;
    svg += line(x.place(least), y.place(least * devices[d].bandwidth), x.place(most),
                y.place(most * devices[d].bandwidth), colour(d));
    svg += text_at(x.place(most) - 4, y.place(most * devices[d].bandwidth) + 14, "end",
                   fmt::format("{:.1f} GB/s", devices[d].bandwidth * 1e-9));
  }
  for (const Point& p : points) {
    svg += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"5\" fill=\"{}\"/>\n",
                       x.place(p.intensity), y.place(p.rate), colour(p.device));
    svg += text_at(x.place(p.intensity) + 8, y.place(p.rate) + 4, "start",
                   fmt::format("{} {}", escaped(devices[p.device].lane.name), phase_name(p.phase)));
  }
  return svg;
}

std::string timeline(const std::vector<PlotDevice>& devices) {
  uint64_t first = UINT64_MAX, last = 0;
  for (const PlotDevice& device : devices)
    for (const TraceEvent& event : device.lane.events) {
      first = std::min(first, event.start_ns);
      last = std::max(last, event.end_ns);
    }
  if (last == 0) return {};
  first = std::max(first, last - std::min(last, kShownNs));
  const double scale = (kWidth - kLeft - kRight) / static_cast<double>(last - first);
  std::string svg;
  for (size_t d = 0; d < devices.size(); ++d) {
    const double top = kLaneTop + static_cast<double>(d) * kLaneHeight;
    svg += text_at(kLeft - 6, top + 18, "end",
                   escaped(devices[d].lane.name) + (devices[d].emulated ? " (emulated)" : ""));
    for (const TraceEvent& event : devices[d].lane.events) {
      if (event.start_ns < first) continue;
      const bool run = event.kind == TraceKind::kRun;
      svg += fmt::format(
          "<rect x=\"{:.2f}\" y=\"{:.1f}\" width=\"{:.2f}\" height=\"{}\" fill=\"{}\">"
          "<title>{}, step {}, {:.3f} ms</title></rect>\n",
          kLeft + static_cast<double>(event.start_ns - first) * scale, run ? top : top + 24,
          std::max(0.2, static_cast<double>(event.end_ns - event.start_ns) * scale), run ? 22 : 6,
          run ? colour(d) : kTransferColour,
          event.segment != nullptr ? event.segment->name() : "cache", event.step,
          static_cast<double>(event.end_ns - event.start_ns) * 1e-6);
    }
  }
  const double bottom = kLaneTop + static_cast<double>(devices.size()) * kLaneHeight + 16;
  svg += text_at(kLeft, bottom, "start", "0 ms");
  svg += text_at(kWidth - kRight, bottom, "end",
                 fmt::format("{:.1f} ms", static_cast<double>(last - first) * 1e-6));
  return svg;
}

}  // namespace

std::string plot_svg(const std::vector<PlotDevice>& devices) {
  const double height = kLaneTop + static_cast<double>(devices.size()) * kLaneHeight + 30;
  return fmt::format(
             "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" "
             "viewBox=\"0 0 {0} {1}\" font-family=\"sans-serif\" font-size=\"11\">\n"
             "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
             kWidth, height) +
         text_at(kLeft, 24, "start",
                 "Roofline: points are whole phases; bytes are the least that "
                 "must move; roofs are measured read bandwidth") +
         roofline(devices) +
         text_at(kLeft, kLaneTop - 14, "start",
                 "Timeline: programs above, hand-overs (grey) below") +
         timeline(devices) + "</svg>\n";
}

}  // namespace tandem
