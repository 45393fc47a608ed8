// What the decode shaders share: extensions, array types behind addresses.
// SPDX-License-Identifier: Apache-2.0
#ifndef TANDEM_COMMON_GLSL
#define TANDEM_COMMON_GLSL

#pragma use_vulkan_memory_model
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_8bit_storage : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_shuffle : require

#include "params.h"

layout(buffer_reference, scalar, buffer_reference_align = 4) buffer UintArray { uint at[]; };
layout(buffer_reference, scalar, buffer_reference_align = 4) buffer FloatArray { float at[]; };
layout(buffer_reference, scalar, buffer_reference_align = 16) buffer QuadArray { vec4 at[]; };

#endif
