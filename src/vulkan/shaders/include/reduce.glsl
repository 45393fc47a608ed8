// Sums and maxima over a workgroup of up to 1024 invocations and any subgroup size.
// SPDX-License-Identifier: Apache-2.0
#ifndef TANDEM_REDUCE_GLSL
#define TANDEM_REDUCE_GLSL

#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require

// One value per subgroup.
shared float reduce_partials[256];

// To be called by all invocations. The first barrier lets the previous call's readers finish.
float workgroup_add(float value) {
  const float sum = subgroupAdd(value);
  barrier();
  if (subgroupElect()) reduce_partials[gl_SubgroupID] = sum;
  barrier();
  float total = 0.0;
  for (uint i = 0; i < gl_NumSubgroups; ++i) total += reduce_partials[i];
  return total;
}

float workgroup_max(float value) {
  const float largest = subgroupMax(value);
  barrier();
  if (subgroupElect()) reduce_partials[gl_SubgroupID] = largest;
  barrier();
  float total = reduce_partials[0];
  for (uint i = 1; i < gl_NumSubgroups; ++i) total = max(total, reduce_partials[i]);
  return total;
}

#endif
