// A picture of what devices did: a roofline with their points, and a timeline. SVG text.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "hybrid/trace.h"

namespace tandem {

struct PlotDevice {
  TraceLane lane;
  double bandwidth = 0;  // bytes per second that its memory gives; 0: no roof is drawn
  bool emulated = false;
};

// Upper half: operations per second over operations per byte, both logarithmic; a roof for each
// device's bandwidth, a point for each device and phase. Lower half: a lane per device with its
// programs, and what moved between them, over the last second at most.
std::string plot_svg(const std::vector<PlotDevice>& devices);

}  // namespace tandem
