// The table of the kernels of one instruction set.
// SPDX-License-Identifier: Apache-2.0

constexpr Kernels kTable = {
    kName,
    kLanes,
    {matmul<WeightKind::kF32>, matmul<WeightKind::kF16>, matmul<WeightKind::kBF16>,
     matmul<WeightKind::kQ4_0>, matmul<WeightKind::kQ4_1>, matmul<WeightKind::kQ5_0>,
     matmul<WeightKind::kQ5_1>, matmul<WeightKind::kQ8_0>, matmul<WeightKind::kQ4K>,
     matmul<WeightKind::kQ5K>, matmul<WeightKind::kQ6K>},
    quantize,
    rms_norm,
    rms_norm_add,
    rotate,
    store_row_f16,
    store_row_i8,
    geglu,
    attend,
    attention_scratch,
    combine,
    argmax};
