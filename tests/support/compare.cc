// SPDX-License-Identifier: Apache-2.0
#include "support/compare.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <limits>

namespace tandem {
namespace {

std::string describe(float value) {
  if (std::bit_cast<uint32_t>(value) == kCanary) return "never written";
  return fmt::format("{}", value);
}

}  // namespace

Comparison compare(std::span<const float> got, const Expected& want, const Bound& bound) {
  Comparison result;
  if (got.size() != want.values.size()) {
    result.message = fmt::format("{} elements instead of {}", got.size(), want.values.size());
    return result;
  }
  double error_squared = 0, magnitude_squared = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = std::fabs(static_cast<double>(got[i]) - want.values[i]);
    const double allowed = bound.relative * want.magnitudes[i] + bound.tiny;
    double share = allowed > 0 ? error / allowed : error == 0 ? 0 : 2;
    if (!std::isfinite(got[i])) share = std::numeric_limits<double>::infinity();
    if (share > 1) ++result.outside;
    if (share > result.worst_share) {
      result.worst_share = share;
      result.worst = i;
    }
    error_squared += error * error;
    magnitude_squared += want.magnitudes[i] * want.magnitudes[i];
  }
  const double allowed_rms = bound.normalised * std::sqrt(magnitude_squared) +
                             bound.tiny * std::sqrt(static_cast<double>(got.size()));
  const double rms = std::sqrt(error_squared);
  result.normalised_share = allowed_rms > 0 ? rms / allowed_rms : rms == 0 ? 0 : 2;
  result.ok = result.outside == 0 && result.normalised_share <= 1;
  if (result.outside != 0) {
    const size_t w = result.worst;
    result.message = fmt::format(
        "{} of {} elements outside their bound; worst is [{}]: got {}, want {} within {}",
        result.outside, got.size(), w, describe(got[w]), want.values[w],
        bound.relative * want.magnitudes[w] + bound.tiny);
  } else if (!result.ok) {
    result.message = fmt::format("root mean square error is {:.3g} times what is allowed",
                                 result.normalised_share);
  }
  return result;
}

}  // namespace tandem
