// The batch buffer (backend/op.h): a header, then one record per row.
// SPDX-License-Identifier: Apache-2.0
#ifndef TANDEM_BATCH_GLSL
#define TANDEM_BATCH_GLSL

#extension GL_EXT_buffer_reference : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require

struct BatchRow {
  uint token, sequence, position, output_row;
};

layout(buffer_reference, std430, buffer_reference_align = 16) readonly buffer Batch {
  uint rows, outputs, round, reserved;
  BatchRow row[];
};

#endif
