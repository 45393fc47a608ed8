// The packed dot product of VK_KHR_shader_integer_dot_product, by its SPIR-V instruction: compilers
// as old as Debian 12's have no GLSL name for it.
// SPDX-License-Identifier: Apache-2.0
#ifndef TANDEM_DOT_GLSL
#define TANDEM_DOT_GLSL

#extension GL_EXT_spirv_intrinsics : require

// OpSDot on four int8 in each word; format 0 is PackedVectorFormat4x8Bit. Capabilities: DotProduct,
// DotProductInput4x8BitPacked.
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6019, 6018],
                  id = 4450)
int dot_packed(uint a, uint b, spirv_literal int format);

#endif
