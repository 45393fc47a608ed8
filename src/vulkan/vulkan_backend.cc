// SPDX-License-Identifier: Apache-2.0
#include "vulkan/vulkan_backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <mutex>

#include "base/check.h"
#include "base/env.h"
#include "vulkan/chain_check.h"
#include "vulkan/context.h"
#include "vulkan/ops/ops.h"
#include "vulkan/program.h"
#include "vulkan/support.h"
#include "vulkan/timeline.h"
#include "vulkan/weights.h"

namespace tandem {
namespace vulkan {
namespace {

constexpr uint32_t kBeginWorkgroup = 256;
constexpr uint32_t kDispatchesPerStep = 8;  // at most; see record_ffn
constexpr uint32_t kDispatchesPerCut = 3;   // prepare, product, reduce

struct VulkanKernel : Kernel {
  OpSpec spec;
  const VulkanWeights* weights = nullptr;
};

// Bytes; 0 where the variable is not set.
size_t env_mebibytes(std::string_view name) {
  const auto text = env(name);
  if (!text) return 0;
  size_t mebibytes = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), mebibytes);
  if (error != std::errc() || end != text->data() + text->size() || mebibytes == 0 ||
      mebibytes > SIZE_MAX >> 20)
    throw Error(ErrorCode::kUsage, fmt::format("{}={} is not a number of MiB", name, *text));
  return mebibytes << 20;
}

MemoryOptions memory_options() {
  return {.zero_copy = !env_flag("TANDEM_NO_ZERO_COPY"),
          .budget = env_mebibytes("TANDEM_VULKAN_BUDGET"),
          .largest = env_mebibytes("TANDEM_VULKAN_LARGEST")};
}

// At most, of all steps.
uint32_t count_dispatches(std::span<const Step> steps) {
  size_t count = 2;
  for (const Step& step : steps) {
    const VulkanWeights* weights = static_cast<const VulkanKernel&>(*step.kernel).weights;
    count += kDispatchesPerStep + (weights == nullptr ? 0 : kDispatchesPerCut * weights->cuts());
  }
  return static_cast<uint32_t>(count);
}

// A node's arguments as the device sees them.
struct Arguments {
  std::vector<VkDeviceAddress> addresses;
  std::vector<Rows> rows;
};

class VulkanBackend : public Backend {
 public:
  explicit VulkanBackend(const VulkanOptions& options)
      : context_(options.device, options.validate, memory_options()),
        weights_(context_.memory),
        timeline_(context_.device, context_.tuning.spin_us),
        profile_(options.profile) {
    override_tuning(context_.tuning, options.tuning);
    if (context_.tuning.chained) context_.tuning.chained = chain_holds(context_);
    const VulkanDeviceInfo& device = context_.device.info();
    info_.name = fmt::format("vulkan:{}", device.index);
    info_.device = fmt::format("{} ({})", device.name, device.driver);
    info_.software = device.software;
    info_.host_memory = device.uma;
    info_.rounds = context_.tuning.rounds;
  }

  const BackendInfo& info() const override { return info_; }
  std::unique_ptr<Import> import(SharedMemory& memory) override {
    return std::make_unique<PageImport>(context_.memory, memory);
  }
  Support supports(const OpSpec& spec) const override {
    return supports_op(context_.device.info(), spec);
  }
  std::unique_ptr<Weights> load(const OpSpec& spec, std::span<const TensorView> file) override {
    const bool table = spec.op == Op::kEmbed || spec.op == Op::kHead;
    return weights_.load(file, table);
  }
  std::unique_ptr<Kernel> prepare(const OpSpec& spec, const Weights* weights) override {
    const Support support = supports(spec);
    if (!support.ok)
      throw Error(ErrorCode::kUnsupported, fmt::format("{} cannot run {}: {}", info_.device,
                                                       op_info(spec.op).name, support.reason));
    auto kernel = std::make_unique<VulkanKernel>();
    kernel->spec = spec;
    kernel->weights = static_cast<const VulkanWeights*>(weights);
    return kernel;
  }
  std::unique_ptr<Program> record(std::span<const Step> steps, const TensorView& batch) override;
  Ticket submit(Program& program, uint32_t rounds) noexcept override;
  Status wait(Ticket ticket, std::chrono::microseconds timeout) noexcept override;

  uint64_t available_memory() const override {
    return context_.memory.budget() - std::min(context_.memory.budget(), context_.memory.used());
  }
  double measure_read_bandwidth() override;
  DeviceCounters device_counters() const override {
    return {info_.host_memory ? 0 : context_.memory.used_by_driver(), 0};
  }
  std::string failure() const override { return timeline_.failure(); }

  const Context& context() const { return context_; }

 private:
  VkDeviceAddress address_of(const TensorView& view);
  Arguments arguments_of(const Step& step);
  void record_begin(VulkanProgram& program, const TensorView& batch, uint32_t counter_words);
  std::vector<VkCommandBuffer> record_round(VulkanProgram& program, std::span<const Step> steps,
                                            uint32_t counter_words);
  bool can_chain(std::span<const Step> steps) const;

  BackendInfo info_;
  Context context_;
  WeightStore weights_;
  Timeline timeline_;
  bool profile_;
};

VkDeviceAddress VulkanBackend::address_of(const TensorView& view) {
  if (view.element_count() == 0) return 0;
  TANDEM_CHECK(view.memory != nullptr, "argument at %zu is outside shared memory", view.offset);
  return static_cast<PageImport&>(view.memory->import_for(*this)).address(view);
}

Arguments VulkanBackend::arguments_of(const Step& step) {
  Arguments arguments;
  for (const TensorView& view : step.args) {
    const VkDeviceAddress address = address_of(view);
    arguments.addresses.push_back(address);
    arguments.rows.push_back({address, static_cast<uint32_t>(view.strides[1] / sizeof(float))});
  }
  return arguments;
}

// Nodes that go on with what is pending on the residual stream, or do not touch the stream.
bool keeps_stream(Op op) {
  return op == Op::kQkv || op == Op::kAttnCore || op == Op::kAttnOut || op == Op::kFfn ||
         op == Op::kHead || op == Op::kArgmax || op == Op::kTopK;
}

void record_node(ProgramBuilder& builder, const Node& node) {
  if (!keeps_stream(node.spec.op)) builder.settle();
  switch (node.spec.op) {
    case Op::kEmbed: return record_embed(builder, node);
    case Op::kQkv: return record_qkv(builder, node);
    case Op::kAttnCore: return record_attention_core(builder, node);
    case Op::kAttnOut: return record_attention_out(builder, node);
    case Op::kFfn: return record_ffn(builder, node);
    case Op::kHead: return record_head(builder, node);
    case Op::kGather: return record_gather(builder, node);
    case Op::kArgmax:
    case Op::kTopK: return record_top_k(builder, node);
    case Op::kMatmul: return record_matmul(builder, node);
    case Op::kRmsNorm:
    case Op::kRmsNormAdd: return record_rms_norm(builder, node);
    case Op::kGeglu: return record_geglu(builder, node);
    case Op::kQkNormRope: return record_qk_norm_rope(builder, node);
    case Op::kAttention: return record_attention(builder, node);
  }
}

void VulkanBackend::record_begin(VulkanProgram& program, const TensorView& batch,
                                 uint32_t counter_words) {
  BeginParams push{};
  push.source = address_of(batch);
  push.target = program.batch.address();
  push.batch_words = static_cast<uint32_t>(batch.element_count());
  push.counters = program.counters.address();
  push.counter_words = counter_words;
  const Pipeline& pipeline =
      context_.pipelines.get({.module = "begin",
                              .constants = {{kSpecWorkgroup, kBeginWorkgroup}},
                              .push_constant_size = sizeof push});
  Recorder recorder(program.pool());
  const uint32_t words = std::max(push.batch_words, counter_words);
  recorder.dispatch(pipeline, push, {(words + kBeginWorkgroup - 1) / kBeginWorkgroup, 1, 1},
                    {"begin", words * sizeof(uint32_t), 0});
  program.begin = recorder.finish();
}

// With barriers, or chained where there are counters.
std::vector<VkCommandBuffer> VulkanBackend::record_round(VulkanProgram& program,
                                                         std::span<const Step> steps,
                                                         uint32_t counter_words) {
  Recorder recorder(program.pool(), program.queries(), count_dispatches(steps));
  ProgramBuilder builder(context_, recorder, program.batch.address(),
                         counter_words > 0 ? program.counters.address() : 0);
  for (const Step& step : steps) {
    const auto& kernel = static_cast<const VulkanKernel&>(*step.kernel);
    const Arguments arguments = arguments_of(step);
    record_node(builder,
                {kernel.spec, kernel.weights, arguments.rows, step.args, arguments.addresses});
  }
  builder.settle();
  for (const Step& step : steps) {
    const auto& kernel = static_cast<const VulkanKernel&>(*step.kernel);
    if (kernel.spec.op != Op::kArgmax) continue;
    const Arguments arguments = arguments_of(step);
    record_advance(builder, {kernel.spec, nullptr, arguments.rows, step.args, arguments.addresses},
                   counter_words);
  }
  recorder.barrier_to_host();
  std::vector<VkCommandBuffer> round = recorder.finish();
  if (round.size() == 1)
    program.together = static_cast<uint32_t>(
        std::max(1.0, ProgramBuilder::kLongest / std::max(builder.seconds(), 1e-6)));
  program.statistics = recorder.statistics();
  program.dispatches = recorder.dispatches();
  for (Buffer& buffer : builder.take_buffers()) program.buffers.push_back(std::move(buffer));
  return round;
}

// Products in tiles do not wait by themselves, and take so long that barriers cost little.
bool VulkanBackend::can_chain(std::span<const Step> steps) const {
  return context_.tuning.chained && std::all_of(steps.begin(), steps.end(), [&](const Step& step) {
           return static_cast<const VulkanKernel&>(*step.kernel).spec.max_rows <
                  context_.matmul_min_rows;
         });
}

std::unique_ptr<Program> VulkanBackend::record(std::span<const Step> steps,
                                               const TensorView& batch) {
  auto program = std::make_unique<VulkanProgram>(context_.device);
  const uint32_t dispatches = count_dispatches(steps);
  const bool chained = can_chain(steps);
  const uint32_t counter_words = chained ? (dispatches + 1) * kCounterStride : 0;
  program->batch = context_.memory.allocate(batch.element_count() * sizeof(uint32_t),
                                            Placement::kDevice, "working buffers");
  program->counters = context_.memory.allocate(std::max(counter_words, 1u) * sizeof(uint32_t),
                                               Placement::kMapped, "working buffers");
  if (profile_) program->create_queries(dispatches);
  record_begin(*program, batch, counter_words);
  program->round = record_round(*program, steps, 0);
  if (chained) program->chained = record_round(*program, steps, counter_words);
  context_.memory.finish_uploads();
  context_.pipelines.save();
  return program;
}

Ticket VulkanBackend::submit(Program& program, uint32_t rounds) noexcept {
  auto& recorded = static_cast<VulkanProgram&>(program);
  Commands commands{recorded.begin, recorded.round, recorded.together};
  if (!recorded.chained.empty() && !timeline_.chain_broken()) {
    commands.round = recorded.chained;
    commands.chain_flag = reinterpret_cast<const uint32_t*>(recorded.counters.host());
  }
  recorded.last_ticket = timeline_.submit(commands, rounds);
  return {recorded.last_ticket};
}

Status VulkanBackend::wait(Ticket ticket, std::chrono::microseconds timeout) noexcept {
  return timeline_.wait(ticket.value, timeout);
}

double VulkanBackend::measure_read_bandwidth() {
  constexpr size_t kLargest = size_t{4} << 30;
  // A GPU takes a tenth of a second to raise its clock.
  const uint32_t runs = context_.device.info().software ? 5 : 150;
  const size_t size = std::min({kLargest, static_cast<size_t>(available_memory() / 2),
                                context_.memory.max_allocation(),
                                context_.device.info().software ? size_t{256} << 20 : kLargest}) &
                      ~size_t{0xffff};
  const Buffer source = context_.memory.allocate(size, Placement::kDevice, "the measurement");
  const Buffer target = context_.memory.allocate(16, Placement::kDevice, "the measurement");
  const ReadParams push{source.address(), target.address(), static_cast<uint32_t>(size / 16)};
  const Pipeline& pipeline = context_.pipelines.get(
      {.module = "read", .constants = {{kSpecWorkgroup, 256}}, .push_constant_size = sizeof push});
  VulkanProgram program(context_.device);
  program.create_queries(runs);
  Recorder recorder(program.pool(), program.queries(), runs + 1);
  for (uint32_t i = 0; i < runs; ++i) {
    recorder.dispatch(pipeline, push, {context_.units() * 8, 1, 1}, {"read", size, 0});
    recorder.barrier();
  }
  program.round = recorder.finish();
  program.dispatches = recorder.dispatches();
  const Ticket ticket = submit(program, 1);
  if (wait(ticket, std::chrono::seconds(30)) != Status::kDone)
    throw Error(ErrorCode::kDeviceLost, failure());
  const std::vector<double> times = program.dispatch_times();
  return static_cast<double>(size) / (*std::min_element(times.begin(), times.end()) * 1e-6);
}

const VulkanBackend& as_vulkan(const Backend& backend) {
  return static_cast<const VulkanBackend&>(backend);
}

}  // namespace
}  // namespace vulkan

std::unique_ptr<Backend> make_vulkan_backend(const VulkanOptions& options) {
  return std::make_unique<vulkan::VulkanBackend>(options);
}

VulkanDeviceList list_vulkan_devices() {
  VulkanDeviceList list;
  try {
    const vulkan::Instance instance(false);
    const std::vector<VkPhysicalDevice> physical = instance.physical_devices();
    for (uint32_t i = 0; i < physical.size(); ++i) {
      VulkanDeviceInfo& info =
          list.devices.emplace_back(vulkan::describe(instance.handle(), physical[i], i));
      if (!info.why_not.empty() || !vulkan::tuning_for(info).chained) continue;
      vulkan::Context context(std::to_string(i), false, vulkan::memory_options());
      info.chained = vulkan::chain_holds(context);
    }
  } catch (const Error& error) {
    list.why_none = error.what();
  }
  return list;
}

VulkanCounters vulkan_counters(const Backend& backend) {
  const vulkan::Memory& memory = vulkan::as_vulkan(backend).context().memory;
  return {memory.staged_copies(), memory.staged_bytes(), memory.used(), memory.budget()};
}

std::vector<std::string> vulkan_validation_messages(const Backend& backend) {
  return vulkan::as_vulkan(backend).context().device.validation_messages();
}

VulkanProgramReport vulkan_program_report(const Backend&, const Program& program) {
  const auto& recorded = static_cast<const vulkan::VulkanProgram&>(program);
  VulkanProgramReport report;
  report.dispatches = recorded.statistics.dispatches;
  report.barriers = recorded.statistics.barriers;
  report.command_buffers = static_cast<uint32_t>(recorded.round.size());
  const std::vector<double> times = recorded.dispatch_times();
  for (size_t i = 0; i < recorded.dispatches.size(); ++i) {
    const vulkan::DispatchCost& cost = recorded.dispatches[i].cost;
    report.timeline.push_back(
        {std::string(cost.label), cost.bytes, cost.operations, i < times.size() ? times[i] : 0});
  }
  return report;
}

}  // namespace tandem
