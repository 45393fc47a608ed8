// Compares what a device computed with a reference in double.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "backend/tolerance.h"

namespace tandem {

// What is expected of each element: its value, and the magnitude that rounding errors grow with,
// such as the sum of |x| |w| of a dot product.
struct Expected {
  std::vector<double> values, magnitudes;

  void push(double value, double magnitude) {
    values.push_back(value);
    magnitudes.push_back(magnitude);
  }
};

struct Comparison {
  bool ok = false;
  std::string message;     // why not: the worst element, its values and bound, how many are outside
  size_t worst = 0;        // index of the element furthest outside its bound
  size_t outside = 0;      // elements outside
  double worst_share = 0;  // of the bound that the worst element uses
  double normalised_share = 0;
};

// What memory is filled with before a device writes to it: a NaN that no computation gives.
inline constexpr uint32_t kCanary = 0x7FC0DEAD;

// Elements that are NaN, infinite or still the canary are outside any bound.
Comparison compare(std::span<const float> got, const Expected& want, const Bound& bound);

}  // namespace tandem
