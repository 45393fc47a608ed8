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

constexpr double kWidth = 960, kLeft = 140, kRight = 30;
constexpr double kLegendTop = 44, kLegendHeight = 18;
constexpr double kRoofHeight = 320, kRoofSpace = kRoofHeight + 86;  // with what stands below it
constexpr double kLaneHeight = 34;
constexpr double kTextHeight = 13, kCharacterWidth = 6.4;  // of the font, about
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

std::string name_of(const PlotDevice& device) {
  return device.lane.name + (device.emulated ? " (emulated)" : "");
}

// What stands where, so that labels keep clear of points and of each other.
class Labels {
 public:
  void keep_clear(double x, double y, double radius) {
    taken_.push_back({x - radius, x + radius, y - radius, y + radius});
  }

  // Beside a point: to its right if that is free, else to its left, else higher or lower.
  std::string beside(double x, double y, const std::string& text) {
    constexpr double kGap = 8, kHalf = kTextHeight / 2;
    const double width = kCharacterWidth * static_cast<double>(text.size());
    for (double shift = 0;; shift = shift > 0 ? -shift : kHalf - shift)
      for (const double start : {x + kGap, x - kGap - width}) {
        const Box box{start, start + width, y + shift - kHalf, y + shift + kHalf};
        const bool right = start > x;
        if (!is_free(box) || (right && box.right > kWidth)) continue;
        taken_.push_back(box);
        return text_at(right ? box.left : box.right, y + shift + 4, right ? "start" : "end",
                       escaped(text));
      }
  }

 private:
  struct Box {
    double left, right, top, bottom;
  };
  bool is_free(const Box& box) const {
    return std::none_of(taken_.begin(), taken_.end(), [&](const Box& other) {
      return box.left < other.right && other.left < box.right && box.top < other.bottom &&
             other.top < box.bottom;
    });
  }
  std::vector<Box> taken_;
};

// A square of each device's colour, its name and the bandwidth that its roof stands for. Sets
// `bottom` to where the last line ends.
std::string legend(const std::vector<PlotDevice>& devices, double& bottom) {
  std::string svg;
  double x = kLeft, y = kLegendTop;
  for (size_t d = 0; d < devices.size(); ++d) {
    std::string text = name_of(devices[d]);
    if (devices[d].bandwidth > 0) text += fmt::format(": {:.1f} GB/s", devices[d].bandwidth * 1e-9);
    const double width = 36 + kCharacterWidth * static_cast<double>(text.size());
    if (x > kLeft && x + width > kWidth - kRight) {
      x = kLeft;
      y += kLegendHeight;
    }
    svg += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"10\" height=\"10\" fill=\"{}\"/>\n",
                       x, y - 9, colour(d));
    svg += text_at(x + 16, y, "start", escaped(text));
    x += width;
  }
  bottom = y + kLegendHeight;
  return svg;
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

std::string roofs(const std::vector<PlotDevice>& devices, const Axis& x, const Axis& y) {
  std::string svg;
  for (size_t d = 0; d < devices.size(); ++d) {
    const double bandwidth = devices[d].bandwidth;
    if (bandwidth <= 0) continue;
    const double least = std::pow(10, std::max(x.first, y.first - std::log10(bandwidth)));
    const double most = std::pow(10, std::min(x.last, y.last - std::log10(bandwidth)));
    if (least < most)
      svg += line(x.place(least), y.place(least * bandwidth), x.place(most),
                  y.place(most * bandwidth), colour(d));
  }
  return svg;
}

std::string roofline(const std::vector<PlotDevice>& devices, double top) {
  const std::vector<Point> points = points_of(devices);
  if (points.empty()) return text_at(kLeft, top + 20, "start", "no programs were traced");
  double x_min = points[0].intensity, x_max = x_min, y_min = points[0].rate, y_max = y_min;
  for (const Point& p : points) {
    x_min = std::min(x_min, p.intensity);
    x_max = std::max(x_max, p.intensity);
    y_min = std::min(y_min, p.rate);
    y_max = std::max({y_max, p.rate, p.intensity * devices[p.device].bandwidth});  // the roof
  }
  const Axis x = axis_over(x_min, x_max, kLeft, kWidth - kRight);
  const Axis y = axis_over(y_min, y_max, top + kRoofHeight, top);
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
  svg += roofs(devices, x, y);
  Labels labels;
  for (const Point& p : points) {
    svg += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"5\" fill=\"{}\"/>\n",
                       x.place(p.intensity), y.place(p.rate), colour(p.device));
    labels.keep_clear(x.place(p.intensity), y.place(p.rate), 5);
  }
  for (const Point& p : points)
    svg += labels.beside(x.place(p.intensity), y.place(p.rate),
                         fmt::format("{} {}", name_of(devices[p.device]), phase_name(p.phase)));
  return svg;
}

std::string timeline(const std::vector<PlotDevice>& devices, double top) {
  uint64_t first = UINT64_MAX, last = 0;
  for (const PlotDevice& device : devices)
    for (const TraceEvent& event : device.lane.events) {
      first = std::min(first, event.start_ns);
      last = std::max(last, event.end_ns);
    }
  if (last <= first) return {};
  first = std::max(first, last - std::min(last, kShownNs));
  const double scale = (kWidth - kLeft - kRight) / static_cast<double>(last - first);
  std::string svg =
      text_at(kLeft, top - 14, "start",
              fmt::format("Timeline, the last {:.1f} ms: programs above, hand-overs (grey) below",
                          static_cast<double>(last - first) * 1e-6));
  for (size_t d = 0; d < devices.size(); ++d, top += kLaneHeight) {
    svg += text_at(kLeft - 6, top + 18, "end", escaped(name_of(devices[d])));
    for (const TraceEvent& event : devices[d].lane.events) {
      if (event.end_ns <= first) continue;
      const uint64_t start = std::max(first, event.start_ns);
      const bool run = event.kind == TraceKind::kRun;
      svg += fmt::format(
          "<rect x=\"{:.2f}\" y=\"{:.1f}\" width=\"{:.2f}\" height=\"{}\" fill=\"{}\">"
          "<title>{}, step {}, {:.3f} ms</title></rect>\n",
          kLeft + static_cast<double>(start - first) * scale, run ? top : top + 24,
          std::max(0.2, static_cast<double>(event.end_ns - start) * scale), run ? 22 : 6,
          run ? colour(d) : kTransferColour,
          event.segment != nullptr ? event.segment->name() : "cache", event.step,
          static_cast<double>(event.end_ns - event.start_ns) * 1e-6);
    }
  }
  svg += text_at(kLeft, top + 16, "start", "0 ms");
  svg += text_at(kWidth - kRight, top + 16, "end",
                 fmt::format("{:.1f} ms", static_cast<double>(last - first) * 1e-6));
  return svg;
}

}  // namespace

std::string plot_svg(const std::vector<PlotDevice>& devices) {
  double roof_top = 0;
  const std::string names = legend(devices, roof_top);
  const double lanes_top = roof_top + kRoofSpace;
  const double height = lanes_top + static_cast<double>(devices.size()) * kLaneHeight + 30;
  return fmt::format(
             "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" "
             "viewBox=\"0 0 {0} {1}\" font-family=\"sans-serif\" font-size=\"11\">\n"
             "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
             kWidth, height) +
         text_at(kLeft, 24, "start",
                 "Roofline: points are whole phases; bytes are the least that "
                 "must move; roofs are measured read bandwidth") +
         names + roofline(devices, roof_top) + timeline(devices, lanes_top) + "</svg>\n";
}

}  // namespace tandem
