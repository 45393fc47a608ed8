// SPDX-License-Identifier: Apache-2.0
#include "hybrid/shadow.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "backend/tolerance.h"
#include "base/check.h"
#include "hybrid/shadow_bounds.h"
#include "model/blocks.h"
#include "tensor/half.h"

namespace tandem {
namespace {

constexpr std::chrono::minutes kNodeTimeout{30};

constexpr std::array kNodes = {Op::kFfn,     Op::kHead,  Op::kQkv,   Op::kAttnCore,
                               Op::kAttnOut, Op::kEmbed, Op::kArgmax};

// One primitive's weights on the scalar backend.
struct ScalarWeights {
  WeightTypes types;
  std::unique_ptr<Weights> weights;
  WeightScale scale;
};

struct ShadowWeights : Weights {
  std::unique_ptr<Weights> device;
  std::vector<ScalarWeights> scalar;  // one per primitive that has weights, in order
  size_t size() const override { return device->size(); }
};

struct ShadowKernel : Kernel {
  std::unique_ptr<Kernel> device;
  OpSpec spec;
  const ShadowWeights* weights = nullptr;  // null for ops without
};

// Passes everything on, so that the pages are imported once for the device and its shadow.
class ForwardedImport : public Import {
 public:
  explicit ForwardedImport(Import& device) : device_(device) {}
  bool zero_copy() const override { return device_.zero_copy(); }
  void acquire(Access access, size_t offset, size_t size) override {
    device_.acquire(access, offset, size);
  }
  void release(Access access, size_t offset, size_t size) override {
    device_.release(access, offset, size);
  }

 private:
  Import& device_;
};

std::string_view name_of(Operand operand) {
  constexpr std::array<std::string_view, 9> kNames = {
      "x", "qkv", "attended", "logits", "ids", "keys", "values", "key scales", "value scales"};
  return kNames[static_cast<size_t>(operand)];
}

// An operand of a node: where the device has it, and the copy that the scalar kernels work on.
struct Argument {
  Operand operand = Operand::kX;
  TensorView device, scalar;
  Import* import = nullptr;  // the device's, of its memory; null when empty
  bool read = false, written = false;
};

// A node of a program, ready on the device and on the scalar backend.
struct CheckedNode {
  Op op = Op::kEmbed;
  OpSpec spec;
  std::vector<Argument> arguments;  // as node_op() lists them
  std::array<TensorView, kOperandCount> scalar{};
  std::vector<const ScalarWeights*> weights;  // of the primitives that have any
  std::vector<std::unique_ptr<Kernel>> kernels;
  std::unique_ptr<Program> device_program, scalar_program;

  TensorView scalar_of(Operand operand) const { return scalar[static_cast<size_t>(operand)]; }
  std::span<const float> scalar_row(Operand operand, uint32_t row) const {
    const TensorView view = scalar_of(operand);
    return {view.row_as<float>(row), view.cols()};
  }
};

struct ShadowProgram : Program {
  std::vector<CheckedNode> nodes;
  TensorView batch;
};

// One cached position of one head, as floats.
std::vector<float> cache_row(const TensorView& values, const TensorView& scales, uint32_t plane,
                             uint32_t slot) {
  std::vector<float> out(values.cols());
  const std::byte* row = values.row(plane, slot);
  for (uint32_t i = 0; i < out.size(); ++i) {
    if (values.dtype == DType::kF32) {
      out[i] = reinterpret_cast<const float*>(row)[i];
    } else if (values.dtype == DType::kF16) {
      out[i] = f16_to_f32(reinterpret_cast<const uint16_t*>(row)[i]);
    } else {
      const float scale = f16_to_f32(scales.row_as<uint16_t>(slot, plane)[i / 32]);
      out[i] = scale * static_cast<float>(reinterpret_cast<const int8_t*>(row)[i]);
    }
  }
  return out;
}

class ShadowBackend : public Backend {
 public:
  ShadowBackend(std::unique_ptr<Backend> device, std::unique_ptr<Backend> scalar)
      : scalar_(std::move(scalar)), device_(std::move(device)) {}

  const BackendInfo& info() const override { return device_->info(); }
  Support supports(const OpSpec& spec) const override { return device_->supports(spec); }
  std::unique_ptr<Import> import(SharedMemory& memory) override {
    return std::make_unique<ForwardedImport>(memory.import_for(*device_));
  }
  std::unique_ptr<Weights> load(const OpSpec& spec, std::span<const TensorView> file) override;
  std::unique_ptr<Kernel> prepare(const OpSpec& spec, const Weights* weights) override;
  std::unique_ptr<Program> record(std::span<const Step> steps, const TensorView& batch) override;
  Ticket submit(Program& program, uint32_t rounds) noexcept override;
  Status wait(Ticket, std::chrono::microseconds) noexcept override { return status_; }

  uint64_t available_memory() const override { return device_->available_memory(); }
  double measure_read_bandwidth() override { return device_->measure_read_bandwidth(); }
  DeviceCounters device_counters() const override { return device_->device_counters(); }
  std::string failure() const override {
    return status_ == Status::kWrongResult ? failure_ : device_->failure();
  }

 private:
  CheckedNode make_node(std::span<const Step> steps, const TensorView& batch);
  TensorView scratch(Operand operand, DType dtype, std::array<uint32_t, 3> dims);
  void make_scalar_program(CheckedNode& node, const TensorView& batch);

  Status run(const CheckedNode& node, const TensorView& batch);
  void check(const CheckedNode& node, const TensorView& batch);
  void check_rows(const CheckedNode& node, const Argument& argument, const BatchHeader& header);
  void spread_of(const CheckedNode& node, const Argument& argument, uint32_t row);
  void check_cache(const CheckedNode& node, const TensorView& batch);
  void check_ids(const CheckedNode& node, uint32_t outputs);
  void fail(const CheckedNode& node, Operand operand, uint32_t row, const Difference& difference);

  std::unique_ptr<Backend> scalar_, device_;
  // The scalar kernels' operands: one per size, as nodes run one by one.
  using Key = std::tuple<Operand, DType, std::array<uint32_t, 3>>;
  struct Scratch {
    std::unique_ptr<SharedMemory> memory;
    TensorView view;
  };
  std::map<Key, Scratch> scratch_;
  std::vector<float> spread_, inner_, gated_;  // of one row

  uint64_t ticket_ = 0;
  Status status_ = Status::kDone;
  std::string failure_;
};

// ---- Setting up ---------------------------------------------------------------------------------

bool is_node(Op op) { return std::find(kNodes.begin(), kNodes.end(), op) != kNodes.end(); }

OpSpec primitive_spec(const OpSpec& node, const BlockOp& primitive) {
  OpSpec spec = node;
  spec.op = primitive.op;
  spec.on_outputs = primitive.on_outputs;
  spec.weights = {};
  spec.weights.count = primitive.weight_count;
  for (uint32_t i = 0; i < primitive.weight_count; ++i)
    spec.weights.types[i] = node.weights.types[primitive.first_weight + i];
  return spec;
}

std::unique_ptr<Weights> ShadowBackend::load(const OpSpec& spec, std::span<const TensorView> file) {
  auto weights = std::make_unique<ShadowWeights>();
  const auto add = [&](const OpSpec& primitive, std::span<const TensorView> own) {
    weights->scalar.push_back(
        {primitive.weights, scalar_->load(primitive, own), WeightScale::of(primitive.op, own)});
  };
  if (is_node(spec.op)) {
    for (const BlockOp& op : node_primitives(spec.op))
      if (op.weight_count > 0)
        add(primitive_spec(spec, op), file.subspan(op.first_weight, op.weight_count));
  } else {
    add(spec, file);
  }
  weights->device = device_->load(spec, file);
  return weights;
}

std::unique_ptr<Kernel> ShadowBackend::prepare(const OpSpec& spec, const Weights* weights) {
  auto kernel = std::make_unique<ShadowKernel>();
  kernel->spec = spec;
  kernel->weights = static_cast<const ShadowWeights*>(weights);
  kernel->device = device_->prepare(spec, weights ? kernel->weights->device.get() : nullptr);
  return kernel;
}

const ShadowKernel& kernel_of(const Step& step) {
  return static_cast<const ShadowKernel&>(*step.kernel);
}

// How many of the first steps make a node, whole or as its primitives; and which.
std::pair<Op, size_t> first_node(std::span<const Step> steps) {
  const OpSpec& first = kernel_of(steps.front()).spec;
  if (is_node(first.op)) return {first.op, 1};
  for (Op node : kNodes) {  // ffn begins as qkv does, and is longer
    const auto primitives = node_primitives(node);
    const bool same = primitives.size() <= steps.size() &&
                      std::equal(primitives.begin(), primitives.end(), steps.begin(),
                                 [](const BlockOp& op, const Step& step) {
                                   return op.op == kernel_of(step).spec.op;
                                 });
    if (same) return {node, primitives.size()};
  }
  TANDEM_CHECK(false, "%s begins no node", op_info(first.op).name.data());
}

TensorView ShadowBackend::scratch(Operand operand, DType dtype, std::array<uint32_t, 3> dims) {
  Scratch& entry = scratch_[{operand, dtype, dims}];
  if (entry.memory == nullptr) {
    entry.memory = std::make_unique<SharedMemory>(std::max<size_t>(1, Arena::size_of(dtype, dims)),
                                                  "the shadow check");
    Arena arena(*entry.memory);
    entry.view = arena.allocate(dtype, dims);
  }
  return entry.view;
}

CheckedNode ShadowBackend::make_node(std::span<const Step> steps, const TensorView& batch) {
  CheckedNode node;
  node.op = first_node(steps).first;
  node.spec = kernel_of(steps.front()).spec;
  const BlockOp& whole = node_op(node.op);
  const OpInfo& info = op_info(node.op);
  const auto primitives = node_primitives(node.op);
  const auto view_of = [&](size_t index) -> const TensorView& {
    if (steps.size() == 1) return steps[0].args[index];
    for (size_t s = 0; s < steps.size(); ++s)
      for (size_t i = 0; i < primitives[s].operands.size(); ++i)
        if (primitives[s].operands[i] == whole.operands[index]) return steps[s].args[i];
    TANDEM_CHECK(false, "%s lacks operand %zu", info.name.data(), index);
  };
  for (size_t i = 0; i < whole.operands.size(); ++i) {
    Argument argument;
    argument.operand = whole.operands[i];
    argument.device = view_of(i);
    argument.written = i < info.writes;
    argument.read = !argument.written || (i == 0 && info.in_place) || is_kv(argument.operand);
    if (argument.device.element_count() > 0) {
      argument.import = &argument.device.memory->import_for(*device_);
      argument.scalar = scratch(argument.operand, argument.device.dtype, argument.device.dims);
    } else {
      argument.scalar = argument.device;
    }
    node.scalar[static_cast<size_t>(argument.operand)] = argument.scalar;
    node.arguments.push_back(argument);
  }
  std::vector<Step> device_steps;
  for (const Step& step : steps) {
    const ShadowKernel& kernel = kernel_of(step);
    device_steps.push_back({kernel.device.get(), step.args});
    if (kernel.weights != nullptr)
      for (const ScalarWeights& weights : kernel.weights->scalar) node.weights.push_back(&weights);
  }
  node.device_program = device_->record(device_steps, batch);
  make_scalar_program(node, batch);
  return node;
}

void ShadowBackend::make_scalar_program(CheckedNode& node, const TensorView& batch) {
  const uint32_t rows = node.arguments.front().device.rows();
  std::vector<std::vector<TensorView>> args;
  std::vector<Step> steps;
  size_t next_weights = 0;
  for (const BlockOp& op : node_primitives(node.op)) {
    std::vector<TensorView>& views = args.emplace_back();
    for (Operand operand : op.operands) {
      TensorView& view = node.scalar[static_cast<size_t>(operand)];
      if (is_scratch(operand) && view.memory == nullptr)
        view = scratch(operand, DType::kF32, {1, rows, operand_width(operand, *node.spec.config)});
      views.push_back(view);
    }
    const ScalarWeights* weights = op.weight_count > 0 ? node.weights[next_weights++] : nullptr;
    OpSpec spec = node.spec;
    spec.op = op.op;
    spec.on_outputs = op.on_outputs;
    spec.weights = weights != nullptr ? weights->types : WeightTypes{};
    node.kernels.push_back(
        scalar_->prepare(spec, weights != nullptr ? weights->weights.get() : nullptr));
    steps.push_back({node.kernels.back().get(), {}});
  }
  for (size_t i = 0; i < steps.size(); ++i) steps[i].args = args[i];
  node.scalar_program = scalar_->record(steps, batch);
}

std::unique_ptr<Program> ShadowBackend::record(std::span<const Step> steps,
                                               const TensorView& batch) {
  auto program = std::make_unique<ShadowProgram>();
  program->batch = batch;
  while (!steps.empty()) {
    const size_t count = first_node(steps).second;
    program->nodes.push_back(make_node(steps.first(count), batch));
    steps = steps.subspan(count);
  }
  return program;
}

// ---- Running ------------------------------------------------------------------------------------

Ticket ShadowBackend::submit(Program& program, uint32_t rounds) noexcept {
  TANDEM_CHECK(rounds == 1, "%u rounds; the shadow check runs one at a time", rounds);
  const auto& checked = static_cast<const ShadowProgram&>(program);
  for (const CheckedNode& node : checked.nodes)
    if (status_ == Status::kDone) status_ = run(node, checked.batch);
  return {++ticket_};
}

void copy(const TensorView& from, const TensorView& to, uint32_t rows) {
  const size_t size = dtype_size(from.dtype, from.cols());
  for (uint32_t plane = 0; plane < from.planes(); ++plane)
    for (uint32_t row = 0; row < rows; ++row)
      std::memcpy(to.row(plane, row), from.row(plane, row), size);
}

// Rows of an operand that a step works on.
uint32_t rows_in_use(Operand operand, const TensorView& view, const BatchHeader& header) {
  if (is_kv(operand)) return view.rows();
  if (operand == Operand::kIds) return header.outputs > 0 ? 1 : 0;
  return counts_outputs(operand) ? header.outputs : header.rows;
}

// Makes what the node wrote visible to the host: no more than that, as the device's copy of other
// cache rows may be old.
void release_written(const CheckedNode& node, const TensorView& batch) {
  const auto& header = *batch.row_as<BatchHeader>(0);
  for (const Argument& argument : node.arguments) {
    if (!argument.written || argument.import == nullptr) continue;
    const TensorView& view = argument.device;
    if (!is_kv(argument.operand)) {
      const uint32_t rows = rows_in_use(argument.operand, view, header);
      argument.import->release(Access::kWrite, view.offset, rows * view.strides[1]);
      continue;
    }
    const uint32_t heads = node.spec.config->kv_heads;
    for (uint32_t r = 0; r < header.rows; ++r) {
      const BatchRow& at = *batch.row_as<BatchRow>(r + 1);
      for (uint32_t g = 0; g < heads; ++g)
        argument.import->release(Access::kWrite,
                                 view.offset + (at.sequence * heads + g) * view.strides[0] +
                                     at.position % view.rows() * view.strides[1],
                                 dtype_size(view.dtype, view.cols()));
    }
  }
}

Status ShadowBackend::run(const CheckedNode& node, const TensorView& batch) {
  const auto& header = *batch.row_as<BatchHeader>(0);
  for (const Argument& argument : node.arguments)
    if (argument.read && argument.import != nullptr)
      copy(argument.device, argument.scalar,
           rows_in_use(argument.operand, argument.device, header));
  const Status status = device_->wait(device_->submit(*node.device_program, 1), kNodeTimeout);
  if (status != Status::kDone) return status;
  release_written(node, batch);
  scalar_->wait(scalar_->submit(*node.scalar_program, 1), kNodeTimeout);
  failure_.clear();
  check(node, batch);
  return failure_.empty() ? Status::kDone : Status::kWrongResult;
}

void ShadowBackend::check(const CheckedNode& node, const TensorView& batch) {
  const auto& header = *batch.row_as<BatchHeader>(0);
  if (node.op == Op::kArgmax) return check_ids(node, header.outputs);
  for (const Argument& argument : node.arguments)
    if (argument.written && !is_kv(argument.operand)) check_rows(node, argument, header);
  if (node.op == Op::kAttnCore) check_cache(node, batch);
}

void ShadowBackend::check_rows(const CheckedNode& node, const Argument& argument,
                               const BatchHeader& header) {
  const uint32_t rows = rows_in_use(argument.operand, argument.device, header);
  const uint32_t cols = argument.device.cols();
  for (uint32_t row = 0; row < rows; ++row) {
    spread_.assign(cols, 0);
    spread_of(node, argument, row);
    const auto difference = find_difference({argument.device.row_as<float>(row), cols},
                                            {argument.scalar.row_as<float>(row), cols}, spread_);
    if (difference) return fail(node, argument.operand, row, *difference);
  }
}

// Fills spread_ for a row of what the node wrote, from what the scalar kernels had on the way.
void ShadowBackend::spread_of(const CheckedNode& node, const Argument& argument, uint32_t row) {
  const auto row_of = [&](Operand operand) { return node.scalar_row(operand, row); };
  switch (node.op) {
    case Op::kQkv: return product_spread(row_of(Operand::kNormed), node.weights[1]->scale, spread_);
    case Op::kHead:
      return product_spread(row_of(Operand::kGatheredNormed), node.weights[1]->scale, spread_);
    case Op::kAttnCore:
      return attention_spread(
          row_of(argument.operand), row_of(Operand::kQkv).first(node.spec.config->q_width()),
          std::span(node.weights[0]->scale.values).last(node.spec.config->head_dim),
          *node.spec.config, node.spec.kv, spread_);
    case Op::kAttnOut:
      product_spread(row_of(Operand::kAttended), node.weights[0]->scale, spread_);
      return norm_spread(row_of(Operand::kProjected), node.weights[1]->scale.values, spread_);
    case Op::kFfn:
      inner_.assign(2 * size_t{node.spec.config->ffn}, 0);
      gated_.assign(node.spec.config->ffn, 0);
      product_spread(row_of(Operand::kNormed), node.weights[1]->scale, inner_);
      gated_spread(row_of(Operand::kGateUp), inner_, gated_);
      product_spread(row_of(Operand::kGated), gated_, node.weights[2]->scale, spread_);
      return norm_spread(row_of(Operand::kProjected), node.weights[3]->scale.values, spread_);
    default: return;  // embed: the rounding of the result is all
  }
}

void ShadowBackend::check_cache(const CheckedNode& node, const TensorView& batch) {
  const LayerConfig& config = *node.spec.config;
  const auto& header = *batch.row_as<BatchHeader>(0);
  for (uint32_t r = 0; r < header.rows; ++r) {
    const BatchRow& at = *batch.row_as<BatchRow>(r + 1);
    const double relative =
        rope_bound(config.head_dim, at.position).relative + 2 * cache_rounding(node.spec.kv);
    for (uint32_t which = 0; which < 2; ++which) {
      // Arguments are out, k, v, k_scale, v_scale, qkv.
      const Argument& values = node.arguments[1 + which];
      const Argument& scales = node.arguments[3 + which];
      const uint32_t slot = at.position % values.device.rows();
      for (uint32_t g = 0; g < config.kv_heads; ++g) {
        const uint32_t plane = at.sequence * config.kv_heads + g;
        const auto got = cache_row(values.device, scales.device, plane, slot);
        const auto want = cache_row(values.scalar, scales.scalar, plane, slot);
        float largest = 0;
        for (float v : want) largest = std::max(largest, std::fabs(v));
        spread_.assign(want.size(), static_cast<float>(relative * static_cast<double>(largest)));
        if (const auto difference = find_difference(got, want, spread_))
          return fail(node, values.operand, r, *difference);
      }
    }
  }
}

void ShadowBackend::check_ids(const CheckedNode& node, uint32_t outputs) {
  const Argument& ids = node.arguments[0];
  for (uint32_t i = 0; i < outputs; ++i) {
    const int32_t got = ids.device.row_as<int32_t>(0)[i], want = ids.scalar.row_as<int32_t>(0)[i];
    if (got != want)
      return fail(node, ids.operand, 0, {i, static_cast<float>(got), static_cast<float>(want), 0});
  }
}

void ShadowBackend::fail(const CheckedNode& node, Operand operand, uint32_t row,
                         const Difference& difference) {
  if (!failure_.empty()) return;
  failure_ = fmt::format(
      "{} differs from the scalar kernels: {} of row {}, element {}, is {}, expected {} within "
      "{:.3g}",
      node_name({node.op, node.spec.layer}), name_of(operand), row, difference.index,
      difference.got, difference.want, difference.bound);
}

}  // namespace

std::unique_ptr<Backend> make_shadow_backend(std::unique_ptr<Backend> device,
                                             std::unique_ptr<Backend> scalar) {
  return std::make_unique<ShadowBackend>(std::move(device), std::move(scalar));
}

}  // namespace tandem
