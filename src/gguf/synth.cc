// SPDX-License-Identifier: Apache-2.0
#include "gguf/synth.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/threads.h"
#include "gguf/gguf_writer.h"
#include "gguf/pieces.h"
#include "gguf/random_blocks.h"
#include "gguf/type_choice.h"

namespace tandem {
namespace {

constexpr size_t kPieceSize = size_t{4} << 20;  // made and written at once by a thread
constexpr float kEmbeddingDeviation = 0.02f;    // keeps logits of order one
constexpr std::string_view kTokenizerPrefix = "tokenizer.";

// Token kinds of llama.cpp's vocabulary arrays.
constexpr int32_t kNormalToken = 1, kControlToken = 3, kByteToken = 6;

struct TensorPlan {
  size_t number;  // of the writer
  DType dtype;
  uint64_t size;    // bytes
  float deviation;  // of a matrix
  float centre;     // of a norm; 0 for a matrix
};

struct Piece {
  size_t plan;
  uint64_t offset;
  size_t size;
};

void check_type(DType dtype) {
  if (dtype == DType::kI8 || dtype == DType::kI32)
    throw Error(ErrorCode::kUsage,
                fmt::format("{} is no type of weights; choose q4_0, q8_0, q4_k, q6_k, bf16 or f16",
                            dtype_name(dtype)));
}

void check_shape(const Gemma3Shape& shape) {
  const uint32_t needed[] = {shape.layers,   shape.hidden, shape.ffn,     shape.heads,
                             shape.kv_heads, shape.window, shape.context, shape.vocab};
  if (std::find(std::begin(needed), std::end(needed), 0u) != std::end(needed))
    throw Error(ErrorCode::kUsage, "a model needs at least one of everything its shape counts");
  if (shape.heads % shape.kv_heads != 0)
    throw Error(ErrorCode::kUsage, fmt::format("{} query heads cannot share {} key-value heads",
                                               shape.heads, shape.kv_heads));
  if (shape.head_dim == 0 || shape.head_dim % 2 != 0)
    throw Error(ErrorCode::kUsage,
                fmt::format("head size {} is not even, as RoPE needs it", shape.head_dim));
}

void add_hyper_parameters(GgufWriter& writer, const SynthOptions& options) {
  const Gemma3Shape& shape = options.shape;
  writer.add_string("general.architecture", "gemma3");
  writer.add_string("general.name", options.name);
  writer.add_unsigned("general.quantization_version", 2);
  writer.add_unsigned("general.file_type", file_type_number(options.dtype));
  writer.add_unsigned("gemma3.context_length", shape.context);
  writer.add_unsigned("gemma3.embedding_length", shape.hidden);
  writer.add_unsigned("gemma3.block_count", shape.layers);
  writer.add_unsigned("gemma3.feed_forward_length", shape.ffn);
  writer.add_unsigned("gemma3.attention.head_count", shape.heads);
  writer.add_unsigned("gemma3.attention.head_count_kv", shape.kv_heads);
  writer.add_unsigned("gemma3.attention.key_length", shape.head_dim);
  writer.add_unsigned("gemma3.attention.value_length", shape.head_dim);
  writer.add_unsigned("gemma3.attention.sliding_window", shape.window);
  writer.add_float("gemma3.attention.layer_norm_rms_epsilon", 1e-6f);
  writer.add_float("gemma3.rope.freq_base", 1e6f);
  writer.add_float("gemma3.rope.freq_base_swa", 1e4f);
  if (shape.rope_factor != 1.0f) {
    writer.add_string("gemma3.rope.scaling.type", "linear");
    writer.add_float("gemma3.rope.scaling.factor", shape.rope_factor);
  }
}

// Control tokens, a piece for each byte, so that every text has tokens, and made-up pieces.
void add_placeholder_vocabulary(GgufWriter& writer, uint32_t count) {
  constexpr std::array<std::string_view, 4> kControl = {"<pad>", "<eos>", "<bos>", "<unk>"};
  std::vector<std::string> pieces;
  std::vector<int32_t> kinds(count, kNormalToken);
  std::vector<float> scores(count);
  for (uint32_t i = 0; i < count; ++i) {
    scores[i] = -static_cast<float>(i);
    if (i < kControl.size()) {
      pieces.emplace_back(kControl[i]);
      kinds[i] = kControlToken;
    } else if (i < kControl.size() + 256) {
      pieces.push_back(fmt::format("<0x{:02X}>", i - kControl.size()));
      kinds[i] = kByteToken;
    } else {
      pieces.push_back(fmt::format("t{}", i));
    }
  }
  writer.add_string("tokenizer.ggml.model", "llama");
  writer.add_string("tokenizer.ggml.pre", "default");
  writer.add_strings("tokenizer.ggml.tokens",
                     std::vector<std::string_view>(pieces.begin(), pieces.end()));
  writer.add_floats("tokenizer.ggml.scores", scores);
  writer.add_integers("tokenizer.ggml.token_type", kinds);
  writer.add_unsigned("tokenizer.ggml.bos_token_id", 2);
  writer.add_unsigned("tokenizer.ggml.eos_token_id", 1);
  writer.add_unsigned("tokenizer.ggml.unknown_token_id", 3);
  writer.add_unsigned("tokenizer.ggml.padding_token_id", 0);
  writer.add_bool("tokenizer.ggml.add_bos_token", true);
  writer.add_bool("tokenizer.ggml.add_eos_token", false);
  writer.add_bool("tokenizer.ggml.add_space_prefix", false);
}

// Returns the number of pieces.
uint32_t copy_vocabulary(GgufWriter& writer, const GgufFile& source) {
  const auto* tokens = source.get_strings("tokenizer.ggml.tokens");
  if (tokens == nullptr || tokens->empty())
    throw Error(ErrorCode::kInvalidFile,
                fmt::format("{}: metadata tokenizer.ggml.tokens is missing; choose a file with a "
                            "vocabulary",
                            source.name()));
  for (const GgufEntry& entry : source.entries())
    if (entry.key.substr(0, kTokenizerPrefix.size()) == kTokenizerPrefix) writer.add_entry(entry);
  return static_cast<uint32_t>(tokens->size());
}

// Declares the tensors of a model, in the order llama.cpp's converter writes them.
class TensorPlanner {
 public:
  TensorPlanner(GgufWriter& writer, DType target, const Gemma3Shape& shape)
      : writer_(writer), target_(target), layers_(shape.layers) {
    const uint64_t hidden = shape.hidden;
    const uint64_t q_width = uint64_t{shape.heads} * shape.head_dim;
    const uint64_t kv_width = uint64_t{shape.kv_heads} * shape.head_dim;
    add_matrix("token_embd", shape.vocab, hidden, kEmbeddingDeviation);
    add_norm("output_norm", hidden, 1.0f);
    for (uint32_t i = 0; i < shape.layers; ++i) {
      const std::string layer = fmt::format("blk.{}.", i);
      add_norm(layer + "attn_norm", hidden, 1.0f);
      add_matrix(layer + "attn_q", q_width, hidden);
      add_matrix(layer + "attn_k", kv_width, hidden);
      add_matrix(layer + "attn_v", kv_width, hidden);
      add_norm(layer + "attn_q_norm", shape.head_dim, 1.0f);
      add_norm(layer + "attn_k_norm", shape.head_dim, 1.0f);
      add_matrix(layer + "attn_output", hidden, q_width);
      // What a block adds to the residual stream is kept smaller than the stream.
      add_norm(layer + "post_attention_norm", hidden, 0.5f);
      add_norm(layer + "ffn_norm", hidden, 1.0f);
      add_matrix(layer + "ffn_gate", shape.ffn, hidden);
      add_matrix(layer + "ffn_up", shape.ffn, hidden);
      add_matrix(layer + "ffn_down", hidden, shape.ffn);
      add_norm(layer + "post_ffw_norm", hidden, 0.5f);
    }
  }

  const std::vector<TensorPlan>& plans() const { return plans_; }

 private:
  // With a deviation of 1 / sqrt(cols) a matrix keeps the size of what it multiplies.
  void add_matrix(const std::string& stem, uint64_t rows, uint64_t cols, float deviation = 0.0f) {
    const std::string name = stem + ".weight";
    const DType dtype = choose_type(target_, name, layers_, cols);
    if (deviation == 0.0f) deviation = 1.0f / std::sqrt(static_cast<float>(cols));
    const std::array<uint64_t, 2> dims = {cols, rows};
    plans_.push_back({writer_.add_tensor(name, dtype, dims), dtype, dtype_size(dtype, rows * cols),
                      deviation, 0.0f});
  }

  void add_norm(const std::string& stem, uint64_t count, float centre) {
    const std::array<uint64_t, 1> dims = {count};
    plans_.push_back({writer_.add_tensor(stem + ".weight", DType::kF32, dims), DType::kF32,
                      count * sizeof(float), 0.0f, centre});
  }

  GgufWriter& writer_;
  DType target_;
  uint32_t layers_;
  std::vector<TensorPlan> plans_;
};

std::vector<Piece> cut(const std::vector<TensorPlan>& plans) {
  std::vector<Piece> pieces;
  for (size_t i = 0; i < plans.size(); ++i) {
    const uint64_t step =
        kPieceSize / dtype_info(plans[i].dtype).block_size * dtype_info(plans[i].dtype).block_size;
    for (uint64_t offset = 0; offset < plans[i].size; offset += step)
      pieces.push_back({i, offset, static_cast<size_t>(std::min(step, plans[i].size - offset))});
  }
  return pieces;
}

// Differs for every piece of every tensor and seed.
uint64_t piece_seed(uint64_t seed, const Piece& piece) {
  return seed * 0xD1342543DE82EF95u + piece.plan * 0xA24BAED4963EE407u + piece.offset;
}

void fill(const TensorPlan& plan, uint64_t seed, std::span<std::byte> out) {
  if (plan.centre == 0.0f) return fill_random_blocks(plan.dtype, plan.deviation, seed, out);
  // Norms near their usual value, none alike.
  fill_random_floats(0.75f * plan.centre, 1.25f * plan.centre, seed,
                     {reinterpret_cast<float*>(out.data()), out.size() / sizeof(float)});
}

}  // namespace

void synthesize(const SynthOptions& options, const std::filesystem::path& out) {
  check_type(options.dtype);
  check_shape(options.shape);
  GgufWriter writer(out);
  Gemma3Shape shape = options.shape;
  add_hyper_parameters(writer, options);
  if (options.vocabulary == nullptr)
    add_placeholder_vocabulary(writer, shape.vocab);
  else
    shape.vocab = copy_vocabulary(writer, *options.vocabulary);
  const TensorPlanner planner(writer, options.dtype, shape);
  const std::vector<Piece> pieces = cut(planner.plans());
  writer.start();

  ThreadPool pool(options.thread_count);
  std::vector<std::vector<std::byte>> buffers(pool.size());
  std::atomic<uint64_t> done = 0;
  const auto make = [&](size_t index, uint32_t thread) {
    const Piece& piece = pieces[index];
    const TensorPlan& plan = planner.plans()[piece.plan];
    buffers[thread].resize(piece.size);
    fill(plan, piece_seed(options.seed, piece), buffers[thread]);
    writer.write(plan.number, piece.offset, buffers[thread]);
    done += piece.size;
  };
  const auto report = [&] {
    if (options.progress) options.progress(done, writer.tensor_size());
  };
  for_each_piece(pool, pieces.size(), make, report);
  writer.finish();
  report();
}

}  // namespace tandem
