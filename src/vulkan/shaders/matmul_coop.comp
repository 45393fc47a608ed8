// y = x w^T on matrix units (VK_KHR_cooperative_matrix, subgroup scope): f16 products summed in
// f32. Tiles of x and of decoded w go through shared memory; the next tiles' loads are in flight
// while the present ones are multiplied.
// SPDX-License-Identifier: Apache-2.0
#version 460
#extension GL_GOOGLE_include_directive : require
#define BARRIERS_ONLY
#extension GL_KHR_cooperative_matrix : require

#define DEQUANT_F16
#include "matmul.glsl"

layout(constant_id = 6) const uint kMatrixM = 16;
layout(constant_id = 7) const uint kMatrixN = 16;
layout(constant_id = 8) const uint kMatrixK = 16;

// Rows of a tile in units of eight f16, padded by one against bank conflicts.
const uint kRow = kTileK / 8;
const uint kPaddedRow = kRow + 1;
shared uvec4 x_tile[kTileM * kPaddedRow];
shared uvec4 w_tile[kTileN * kPaddedRow];

const uint kGroupsPerRow = kTileK / 32;
const uint kXPieces = kTileM * kRow;
const uint kWGroups = kTileN * kGroupsPerRow;
const uint kXLoads = (kXPieces + kWorkgroup - 1) / kWorkgroup;
const uint kWLoads = (kWGroups + kWorkgroup - 1) / kWorkgroup;
const uint kSubgroupSize = kWorkgroup / ((kTileM / kPartM) * (kTileN / kPartN));
const uint kMatricesM = kPartM / kMatrixM;
const uint kMatricesN = kPartN / kMatrixN;

struct Prefetch {
  uvec4 x[kXLoads];
  Block w[kWLoads];
};

uint64_t w_rows[kWLoads];  // where the rows lie that this invocation decodes

// x has rows to the end of the tile; what lies in those past the last is multiplied and dropped.
void load_tiles(uint k, inout Prefetch next) {
  [[unroll]] for (uint i = 0; i < kXLoads; ++i) {
    const uint index = gl_LocalInvocationIndex + i * kWorkgroup;
    const uint row = first_row() + index / kRow;
    const uint column = k + 8 * (index % kRow);
    if ((kXPieces % kWorkgroup == 0 || index < kXPieces) && (kTileK == 32 || column < p.k))
      next.x[i] = WordQuad(p.x + 2 * (uint64_t(row) * p.k + column)).value;
  }
  [[unroll]] for (uint i = 0; i < kWLoads; ++i) {
    const uint index = gl_LocalInvocationIndex + i * kWorkgroup;
    const uint group = k / 32 + index % kGroupsPerRow;
    if ((kWGroups % kWorkgroup == 0 || index < kWGroups) &&
        (kTileK == 32 || group * 32 < p.k))
      next.w[i] = load_block(w_rows[i], group);
  }
}

void store_x(uint k, in Prefetch next) {
  [[unroll]] for (uint i = 0; i < kXLoads; ++i) {
    const uint index = gl_LocalInvocationIndex + i * kWorkgroup;
    const bool inside = kTileK == 32 || k + 8 * (index % kRow) < p.k;
    if (kXPieces % kWorkgroup == 0 || index < kXPieces)
      x_tile[index / kRow * kPaddedRow + index % kRow] = inside ? next.x[i] : uvec4(0);
  }
}

void store_w(uint k, in Prefetch next) {
  [[unroll]] for (uint i = 0; i < kWLoads; ++i) {
    const uint index = gl_LocalInvocationIndex + i * kWorkgroup;
    const uint group = index % kGroupsPerRow;
    const bool inside = kTileK == 32 || k + 32 * group < p.k;
    const uint at = index / kGroupsPerRow * kPaddedRow + 4 * group;
    if (kWGroups % kWorkgroup == 0 || index < kWGroups) {
      const BlockScale scale = block_scale(next.w[i]);
      [[unroll]] for (uint j = 0; j < 2; ++j) {
        const uvec4 first = dequant8_f16(next.w[i], scale, 2 * j);
        const uvec4 second = dequant8_f16(next.w[i], scale, 2 * j + 1);
        w_tile[at + j] = inside ? uvec4(first.xy, second.xy) : uvec4(0);
        w_tile[at + 2 + j] = inside ? uvec4(first.zw, second.zw) : uvec4(0);
      }
    }
  }
}

coopmat<float, gl_ScopeSubgroup, kMatrixM, kMatrixN, gl_MatrixUseAccumulator>
    sums[kMatricesM * kMatricesN];

void multiply_tiles(uint part_row, uint part_column) {
  [[unroll]] for (uint k = 0; k < kTileK; k += kMatrixK) {
    coopmat<float16_t, gl_ScopeSubgroup, kMatrixM, kMatrixK, gl_MatrixUseA> x[kMatricesM];
    [[unroll]] for (uint m = 0; m < kMatricesM; ++m)
      coopMatLoad(x[m], x_tile, (part_row + m * kMatrixM) * kPaddedRow + k / 8, kPaddedRow,
                  gl_CooperativeMatrixLayoutRowMajor);
    [[unroll]] for (uint n = 0; n < kMatricesN; ++n) {
      coopmat<float16_t, gl_ScopeSubgroup, kMatrixK, kMatrixN, gl_MatrixUseB> w;
      coopMatLoad(w, w_tile, (part_column + n * kMatrixN) * kPaddedRow + k / 8, kPaddedRow,
                  gl_CooperativeMatrixLayoutColumnMajor);
      [[unroll]] for (uint m = 0; m < kMatricesM; ++m)
        sums[m * kMatricesN + n] = coopMatMulAdd(x[m], w, sums[m * kMatricesN + n]);
    }
  }
}

// Through a part of shared memory that is the subgroup's own, one matrix at a time, since which
// invocation holds which element is the driver's secret. All loops unroll, so that sums stay in
// registers. Room: kMatrixM * kMatrixN / 4 pieces for each subgroup, which w_tile has for every row
// of matmul_tuning.cc; x_tile has not.
void store_sums(uint part_row, uint part_column) {
  const uint patch_at = gl_SubgroupID * (kMatrixM * kMatrixN / 4);
  const uint lane_row = first_row() + part_row + gl_SubgroupInvocationID / kMatrixN;
  const uint lane_column = first_column() + part_column + gl_SubgroupInvocationID % kMatrixN;
  const uint rows = row_count(), columns = p.n_end[2], stride = p.y_stride;
  FloatArray y = result();
  FloatArray scale = FloatArray(p.scale);
  barrier();
  [[unroll]] for (uint m = 0; m < kMatricesM; ++m) {
    [[unroll]] for (uint n = 0; n < kMatricesN; ++n) {
      coopMatStore(sums[m * kMatricesN + n], w_tile, patch_at, kMatrixN / 4,
                   gl_CooperativeMatrixLayoutRowMajor);
      subgroupBarrier();
      [[unroll]] for (uint i = 0; i < kMatrixM * kMatrixN; i += kSubgroupSize) {
        const uint row = lane_row + m * kMatrixM + i / kMatrixN;
        const uint column = lane_column + n * kMatrixN + i % kMatrixN;
        const uint element = i + gl_SubgroupInvocationID;
        if (row < rows && column < columns)
          y.at[row * stride + column] =
              uintBitsToFloat(w_tile[patch_at + element / 4][element % 4]) * scale.at[row];
      }
      subgroupBarrier();
    }
  }
}

void main() {
  if (first_row() >= row_count()) return;
  const uint part_row = gl_SubgroupID / (kTileN / kPartN) * kPartM;
  const uint part_column = gl_SubgroupID % (kTileN / kPartN) * kPartN;
  [[unroll]] for (uint i = 0; i < kMatricesM * kMatricesN; ++i)
    sums[i] = coopmat<float, gl_ScopeSubgroup, kMatrixM, kMatrixN, gl_MatrixUseAccumulator>(0.0);

  [[unroll]] for (uint i = 0; i < kWLoads; ++i)
    w_rows[i] = weight_row(first_column() +
                           (gl_LocalInvocationIndex + i * kWorkgroup) / kGroupsPerRow);

  Prefetch next;
  load_tiles(first_k(), next);
  for (uint k = first_k(); k < last_k(); k += kTileK) {
    barrier();
    store_x(k, next);
    store_w(k, next);
    barrier();
    if (k + kTileK < last_k()) load_tiles(k + kTileK, next);
    multiply_tiles(part_row, part_column);
  }
  store_sums(part_row, part_column);
}
