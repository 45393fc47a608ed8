// Push constants and specialisation constants of the shaders, read by C++ and GLSL. Structs are
// laid out without padding (scalar layout), at most 128 bytes. Prefill's are in prefill_params.h.
// Addresses are device addresses; sizes and strides count elements unless a comment says bytes.
// SPDX-License-Identifier: Apache-2.0
#ifndef TANDEM_PARAMS_H
#define TANDEM_PARAMS_H

#ifdef __cplusplus
#include <cstdint>
namespace tandem::vulkan {
using uint = uint32_t;
#define TANDEM_CONSTANT constexpr uint32_t
#else
#define TANDEM_CONSTANT const uint
#endif

TANDEM_CONSTANT kSpecWorkgroup = 0;  // every shader: invocations of a workgroup

// fill.comp
struct FillParams {
  uint64_t target;  // words
  uint count, value;
};

#undef TANDEM_CONSTANT
#ifdef __cplusplus
}  // namespace tandem::vulkan
#endif
#endif
