// kQkNormRope and kAttention: which rows, heads and keys make up a task. The arithmetic is in the
// kernels.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "cpu/ops.h"

namespace tandem::cpu {
namespace {

KvKind kv_kind(DType dtype) {
  if (dtype == DType::kF32) return KvKind::kF32;
  return dtype == DType::kF16 ? KvKind::kF16 : KvKind::kI8;
}

// args[first ..]: k, v, k_scale, v_scale of op.h
void check_cache(const OpSpec& spec, std::span<const TensorView> args) {
  const LayerConfig& c = *spec.config;
  for (const TensorView& view : args.subspan(0, 2)) {
    check_operand(view, spec.kv, 1, c.head_dim);
    TANDEM_CHECK(view.planes() >= spec.max_sequences * c.kv_heads, "%u planes for %u x %u",
                 view.planes(), spec.max_sequences, c.kv_heads);
  }
  TANDEM_CHECK(args[0].rows() == args[1].rows(), "%u keys, %u values", args[0].rows(),
               args[1].rows());
  if (spec.kv != DType::kI8) return;
  for (const TensorView& view : args.subspan(2, 2))
    check_operand(view, DType::kF16, args[0].rows(), c.head_dim / kBlock);
}

// Norm of each head of q and k, RoPE, and this row's k and v into the cache. A task is a row.
class QkNormRopeOp : public CpuKernel {
 public:
  QkNormRopeOp(const OpSpec& spec, const CpuWeights& weights, const Kernels& kernels)
      : CpuKernel(spec),
        kernels_(kernels),
        q_norm_(weights.vectors[0]),
        k_norm_(weights.vectors[1]) {
    const LayerConfig& c = *spec.config;
    for (uint32_t i = 0; i < c.head_dim / 2; ++i)
      frequencies_.push_back(
          static_cast<float>(std::pow(static_cast<double>(c.rope_base), -2.0 * i / c.head_dim) *
                             static_cast<double>(c.rope_scale)));
  }

  ScratchSize bind(std::span<const TensorView> args) const override {
    check_operand(args[0], DType::kF32, max_rows(), spec().config->qkv_width());
    check_cache(spec(), args.subspan(1));
    return {0, spec().config->head_dim * sizeof(float)};
  }
  uint32_t task_count(const Run& run, std::span<const TensorView>,
                      uint32_t) const noexcept override {
    return run.header->rows;
  }
  void run_task(const Run& run, std::span<const TensorView> args, uint32_t,
                uint32_t row) const noexcept override {
    const LayerConfig& c = *spec().config;
    const BatchRow& at = run.rows[row];
    float* cosine = reinterpret_cast<float*>(run.own);
    float* sine = cosine + c.head_dim / 2;
    for (uint32_t i = 0; i < c.head_dim / 2; ++i) {
      const float angle = static_cast<float>(at.position) * frequencies_[i];
      cosine[i] = std::cos(angle);
      sine[i] = std::sin(angle);
    }
    float* head = args[0].row_as<float>(row);
    for (uint32_t h = 0; h < c.heads + c.kv_heads; ++h, head += c.head_dim) {
      const std::span<const float> norm = h < c.heads ? q_norm_ : k_norm_;
      kernels_.rms_norm(head, head, norm.data(), c.head_dim, c.norm_epsilon);
      kernels_.rotate(head, cosine, sine, c.head_dim / 2);
    }
    const float* k = args[0].row_as<float>(row) + c.q_width();
    const uint32_t slot = at.position % args[1].rows();
    for (uint32_t g = 0; g < c.kv_heads; ++g) {
      const uint32_t plane = at.sequence * c.kv_heads + g;
      store(args[1], args[3], plane, slot, k + g * c.head_dim);
      store(args[2], args[4], plane, slot, k + c.kv_width() + g * c.head_dim);
    }
  }

 private:
  void store(const TensorView& values, const TensorView& scales, uint32_t plane, uint32_t slot,
             const float* x) const {
    const uint32_t count = spec().config->head_dim;
    std::byte* out = values.row(plane, slot);
    switch (kv_kind(spec().kv)) {
      case KvKind::kF32: std::memcpy(out, x, count * sizeof(float)); break;
      case KvKind::kF16: kernels_.store_f16(reinterpret_cast<uint16_t*>(out), x, count); break;
      case KvKind::kI8:
        kernels_.store_i8(reinterpret_cast<int8_t*>(out), scales.row_as<uint16_t>(slot, plane), x,
                          count);
        break;
    }
  }

  const Kernels& kernels_;
  std::span<const float> q_norm_, k_norm_;
  std::vector<float> frequencies_;  // radians per position
};

// Few rows: a task is a row, a KV head and a chunk of its keys; stage 1 combines the chunks.
// Many rows: a task is kAttentionRows rows and a KV head, over all keys. Which of the two, and
// where chunks end, depends on the batch alone, so results do not depend on the threads.
class AttentionOp : public CpuKernel {
 public:
  AttentionOp(const OpSpec& spec, const Kernels& kernels)
      : CpuKernel(spec),
        kernels_(kernels),
        group_(spec.config->heads / spec.config->kv_heads),
        state_size_(attention_state_size(spec.config->head_dim)) {}

  ScratchSize bind(std::span<const TensorView> args) const override {
    const LayerConfig& c = *spec().config;
    check_operand(args[0], DType::kF32, max_rows(), c.q_width());
    check_operand(args[5], DType::kF32, max_rows(), c.qkv_width());
    check_cache(spec(), args.subspan(1));
    const size_t split_states = size_t{std::min(kSplitRows, max_rows())} * c.heads *
                                std::min(kMaxChunks, args[1].rows() / kChunk + 1);
    return {split_states * state_size_ * sizeof(float),
            states_offset() + kAttentionRows * group_ * state_size_ * sizeof(float)};
  }

  uint32_t stage_count() const override { return 2; }

  uint32_t task_count(const Run& run, std::span<const TensorView>,
                      uint32_t stage) const noexcept override {
    const uint32_t rows = run.header->rows, kv_heads = spec().config->kv_heads;
    if (rows <= kSplitRows) return stage == 0 ? rows * kv_heads * most_chunks(run) : rows;
    return stage == 0 ? (rows + kAttentionRows - 1) / kAttentionRows * kv_heads : 0;
  }

  void run_task(const Run& run, std::span<const TensorView> args, uint32_t stage,
                uint32_t task) const noexcept override {
    const uint32_t kv_heads = spec().config->kv_heads;
    if (stage == 1) {
      combine_chunks(run, args, task);
    } else if (run.header->rows <= kSplitRows) {
      const uint32_t chunks = most_chunks(run);
      attend_chunk(run, args, {task / chunks / kv_heads, task / chunks % kv_heads, task % chunks});
    } else {
      attend_rows(run, args, task / kv_heads * kAttentionRows, task % kv_heads);
    }
  }

 private:
  static constexpr uint32_t kSplitRows = 4;
  static constexpr uint32_t kMaxChunks = 64;
  static constexpr uint32_t kChunk = 128;  // keys; longer where kMaxChunks would not do

  // The keys that a row attends to, and how they are divided.
  struct Keys {
    uint32_t first, last, chunk, chunks;
  };
  Keys keys_of(const BatchRow& row) const {
    const uint32_t window = spec().config->window;
    Keys keys{};
    keys.last = row.position + 1;
    keys.first = window != 0 && keys.last > window ? keys.last - window : 0;
    const uint32_t count = keys.last - keys.first;
    keys.chunk = kChunk * ((count + kMaxChunks * kChunk - 1) / (kMaxChunks * kChunk));
    keys.chunks = (count + keys.chunk - 1) / keys.chunk;
    return keys;
  }
  uint32_t most_chunks(const Run& run) const {
    uint32_t most = 0;
    for (uint32_t row = 0; row < run.header->rows; ++row)
      most = std::max(most, keys_of(run.rows[row]).chunks);
    return most;
  }

  size_t states_offset() const {
    return align_up(kernels_.attention_scratch(group_, spec().config->head_dim) * sizeof(float));
  }

  KvPlane plane_of(const TensorView& values, const TensorView& scales, uint32_t plane) const {
    if (spec().kv != DType::kI8) return {values.row(plane, 0), values.strides[1], nullptr, 0};
    return {values.row(plane, 0), values.strides[1], scales.row_as<uint16_t>(0, plane),
            scales.strides[1]};
  }

  // Everything but the range of keys and the place of the states.
  AttentionCall call_for(const Run& run, std::span<const TensorView> args, uint32_t row,
                         uint32_t kv_head) const {
    const LayerConfig& c = *spec().config;
    const uint32_t plane = run.rows[row].sequence * c.kv_heads + kv_head;
    AttentionCall call{};
    call.queries = args[5].row_as<float>(row) + size_t{kv_head} * group_ * c.head_dim;
    call.query_stride = args[5].strides[1] / sizeof(float);
    call.rows = 1;
    call.heads = group_;
    call.head_dim = c.head_dim;
    call.first_position = run.rows[row].position;
    call.capacity = args[1].rows();
    call.window = c.window;
    call.scale = c.attention_scale;
    call.kind = kv_kind(spec().kv);
    call.keys = plane_of(args[1], args[3], plane);
    call.values = plane_of(args[2], args[4], plane);
    call.scratch = reinterpret_cast<float*>(run.own);
    return call;
  }

  // States of split rows: [rows, kv_heads, chunks, heads of the group].
  struct Chunk {
    uint32_t row, kv_head, index;
  };
  float* chunk_states(const Run& run, Chunk chunk) const {
    const size_t index =
        (size_t{chunk.row} * spec().config->kv_heads + chunk.kv_head) * most_chunks(run) +
        chunk.index;
    return reinterpret_cast<float*>(run.shared) + index * group_ * state_size_;
  }

  void attend_chunk(const Run& run, std::span<const TensorView> args, Chunk chunk) const {
    const Keys keys = keys_of(run.rows[chunk.row]);
    if (chunk.index >= keys.chunks) return;
    AttentionCall call = call_for(run, args, chunk.row, chunk.kv_head);
    call.first_key = keys.first + chunk.index * keys.chunk;
    call.last_key = std::min(keys.last, call.first_key + keys.chunk);
    call.states = chunk_states(run, chunk);
    kernels_.attend(call);
  }

  void combine_chunks(const Run& run, std::span<const TensorView> args, uint32_t row) const {
    const LayerConfig& c = *spec().config;
    const uint32_t chunks = keys_of(run.rows[row]).chunks;
    float* out = args[0].row_as<float>(row);
    for (uint32_t h = 0; h < c.heads; ++h)
      kernels_.combine(out + size_t{h} * c.head_dim,
                       chunk_states(run, {row, h / group_, 0}) + h % group_ * state_size_,
                       group_ * state_size_, chunks, c.head_dim);
  }

  // Rows [first, first + kAttentionRows), by runs of consecutive positions of one sequence.
  void attend_rows(const Run& run, std::span<const TensorView> args, uint32_t first,
                   uint32_t kv_head) const {
    const LayerConfig& c = *spec().config;
    const uint32_t end = std::min(first + kAttentionRows, run.header->rows);
    for (uint32_t row = first; row < end;) {
      AttentionCall call = call_for(run, args, row, kv_head);
      while (row + call.rows < end &&
             continues(run.rows[row + call.rows - 1], run.rows[row + call.rows]))
        ++call.rows;
      call.first_key = keys_of(run.rows[row]).first;
      call.last_key = call.first_position + call.rows;
      call.states = reinterpret_cast<float*>(run.own + states_offset());
      kernels_.attend(call);
      for (uint32_t i = 0; i < call.rows * group_; ++i)
        kernels_.combine(args[0].row_as<float>(row + i / group_) +
                             (size_t{kv_head} * group_ + i % group_) * c.head_dim,
                         call.states + i * state_size_, 0, 1, c.head_dim);
      row += call.rows;
    }
  }

  static bool continues(const BatchRow& before, const BatchRow& row) {
    return row.sequence == before.sequence && row.position == before.position + 1;
  }

  const Kernels& kernels_;
  uint32_t group_;  // query heads per KV head
  size_t state_size_;
};

}  // namespace

std::unique_ptr<CpuKernel> make_qk_norm_rope_op(const OpSpec& spec, const CpuWeights& weights,
                                                const Kernels& kernels) {
  return std::make_unique<QkNormRopeOp>(spec, weights, kernels);
}

std::unique_ptr<CpuKernel> make_attention_op(const OpSpec& spec, const Kernels& kernels) {
  return std::make_unique<AttentionOp>(spec, kernels);
}

}  // namespace tandem::cpu
