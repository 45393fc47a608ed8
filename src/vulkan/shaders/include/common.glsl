// What the decode shaders share: extensions, arrays behind addresses, the chain of dispatches.
// SPDX-License-Identifier: Apache-2.0
#ifndef TANDEM_COMMON_GLSL
#define TANDEM_COMMON_GLSL

// Prefill shaders hand results on by barriers between dispatches alone. They keep GLSL's own memory
// model, since Mesa 22's lavapipe turns every access to shared memory under Vulkan's into an
// execution barrier, in divergent code too.
#ifndef BARRIERS_ONLY
#pragma use_vulkan_memory_model
#endif
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
#extension GL_EXT_shader_explicit_arithmetic_types_int8 : require
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_8bit_storage : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_shuffle : require

#include "params.h"

// Non-private: workgroups hand results to each other through these.
layout(buffer_reference, scalar, buffer_reference_align = 4) nonprivate buffer UintArray {
  uint at[];
};
layout(buffer_reference, scalar, buffer_reference_align = 4) nonprivate buffer FloatArray {
  float at[];
};
layout(buffer_reference, scalar, buffer_reference_align = 16) nonprivate buffer QuadArray {
  vec4 at[];
};

// The invocation's place in its workgroup, such that a subgroup's invocations are neighbours.
uint thread_index() { return gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID; }

// All invocations of the workgroup have arrived, and see each other's buffer and shared writes.
void workgroup_barrier() {
  memoryBarrier(gl_ScopeWorkgroup, gl_StorageSemanticsBuffer | gl_StorageSemanticsShared,
                gl_SemanticsAcquireRelease);
  barrier();
}

// Counts the workgroup in `counter` after its writes; the value before. For one invocation, after
// workgroup_barrier().
uint count_arrival(UintArray counter) {
  const uint before =
      atomicAdd(counter.at[0], 1, gl_ScopeDevice, gl_StorageSemanticsBuffer,
                gl_SemanticsAcquireRelease | gl_SemanticsMakeAvailable | gl_SemanticsMakeVisible);
  return before;
}

// Waits for the workgroups of the dispatch before. The spin is bounded: Vulkan does not promise
// that they run, and a wait that ran out is reported by the flag instead of hanging the device.
void chain_wait(Chain chain) {
  if (chain.wait_count == 0) return;
  if (gl_LocalInvocationIndex == 0) {
    UintArray words = UintArray(chain.counters);
    const uint at = chain.step * kCounterStride;
    uint spins = 0;
    while (atomicLoad(words.at[at], gl_ScopeDevice, 0, 0) < chain.wait_count) {
      if (++spins % kSpinsPerLook != 0) continue;
      if (spins >= kSpinLimit || atomicLoad(words.at[0], gl_ScopeDevice, 0, 0) != 0) {
        atomicStore(words.at[0], chain.step, gl_ScopeDevice, 0, 0);
        break;
      }
    }
    memoryBarrier(gl_ScopeDevice, gl_StorageSemanticsBuffer,
                  gl_SemanticsAcquire | gl_SemanticsMakeVisible);
  }
  workgroup_barrier();
}

// Its result is not asked for, so that the workgroup ends without waiting for it.
void chain_signal(Chain chain) {
  workgroup_barrier();
  if (gl_LocalInvocationIndex == 0)
    atomicAdd(UintArray(chain.counters + 4 * kCounterStride * (chain.step + 1)).at[0], 1,
              gl_ScopeDevice, gl_StorageSemanticsBuffer,
              gl_SemanticsRelease | gl_SemanticsMakeAvailable);
}

// The sum over `lanes` neighbouring invocations, a power of two up to 64. A counted loop, which every
// compiler unrolls.
float add_lanes(float v, uint lanes) {
  [[unroll]] for (uint i = 0; i < 6; ++i)
    if ((1u << i) < lanes) v += subgroupShuffleXor(v, 1u << i);
  return v;
}

// 0.5 x (1 + tanh(u)) = x / (1 + exp(-2 u)), u = sqrt(2 / pi) (x + 0.044715 x^3). The clamp keeps exp
// finite; beyond it the result is x or 0 to the last bit.
float gelu_tanh(float x) {
  const float u = 0.79788456080286535588 * x * (1.0 + 0.044715 * x * x);
  return x / (1.0 + exp(clamp(-2.0 * u, -80.0, 80.0)));
}

#endif
