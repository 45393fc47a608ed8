// Sine and cosine of rotary angles, exact enough at any position.
// SPDX-License-Identifier: Apache-2.0
#ifndef TANDEM_TURNS_GLSL
#define TANDEM_TURNS_GLSL

// (cos, sin) of an angle in turns times 2^64, wrapped: position * turns needs no range reduction.
// The driver's sine may be off by 2^-11, so: the nearest quarter turn, then Taylor series on
// [-pi/4, pi/4], whose next terms are below 2^-25.
vec2 cos_sin(uint64_t turns) {
  const uint top = uint(turns >> 32);
  const uint quarter = (top + 0x20000000u) >> 30;
  const float a = float(int(top - (quarter << 30))) * 1.4629180792671596e-9;  // 2 pi / 2^32
  const float a2 = a * a;
  const float s =
      a + a * a2 * (-1.0 / 6.0 + a2 * (1.0 / 120.0 + a2 * (-1.0 / 5040.0 + a2 / 362880.0)));
  const float c = 1.0 + a2 * (-0.5 + a2 * (1.0 / 24.0 + a2 * (-1.0 / 720.0 + a2 / 40320.0)));
  const vec2 rotated = (quarter & 1u) == 0 ? vec2(c, s) : vec2(-s, c);
  return (quarter & 2u) == 0 ? rotated : -rotated;
}

#endif
