// SPDX-License-Identifier: Apache-2.0
#include "npu/npu_backend.h"

#include <fmt/format.h>

#include <array>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <tuple>
#include <utility>

#include "backend/phase_name.h"
#include "base/check.h"
#include "base/error.h"
#include "base/log.h"
#include "base/threads.h"
#include "npu/design_source.h"
#include "npu/detect.h"
#include "npu/device.h"
#include "npu/fake_driver.h"
#include "npu/kernels/builtin_kernels.h"
#include "npu/projection_kernel.h"

namespace tandem::npu {
namespace {

// The host reads and writes activations itself, so shared memory needs no moving.
class HostImport final : public Import {
 public:
  bool zero_copy() const override { return true; }
  void acquire(Access, size_t, size_t) override {}
  void release(Access, size_t, size_t) override {}
};

struct NpuProgram final : Program {
  struct Call {
    const ProjectionKernel* kernel;
    std::vector<TensorView> args;
  };
  std::vector<Call> calls;
  const BatchHeader* header = nullptr;
};

// What makes two specs share a design.
using DesignKey = std::tuple<DesignOp, Phase, uint32_t, uint32_t, uint32_t>;

DesignKey key_of(const OpSpec& spec) {
  const ProjectionShape shape = projection_shape(spec);
  return {shape.op, spec.phase, design_rows(spec), shape.inputs, shape.outputs};
}

size_t counter_index(Op op, Phase phase) {
  return (op == Op::kQkv ? 0u : 2u) + (phase == Phase::kDecode ? 0u : 1u);
}

class NpuBackendImpl final : public NpuBackend {
 public:
  explicit NpuBackendImpl(const NpuOptions& options);
  ~NpuBackendImpl() override;

  const BackendInfo& info() const override { return info_; }
  Support supports(const OpSpec& spec) const override;
  std::unique_ptr<Import> import(SharedMemory&) override { return std::make_unique<HostImport>(); }
  std::unique_ptr<Weights> load(const OpSpec& spec, std::span<const TensorView> file) override;
  std::unique_ptr<tandem::Kernel> prepare(const OpSpec& spec, const Weights* weights) override;
  std::unique_ptr<Program> record(std::span<const Step> steps, const TensorView& batch) override;
  Ticket submit(Program& program, uint32_t rounds) noexcept override;
  Status wait(Ticket ticket, std::chrono::microseconds timeout) noexcept override;
  std::string failure() const override;
  DeviceCounters device_counters() const override;
  std::vector<NpuOpCounters> counters() const override;

 private:
  static constexpr size_t kMaxQueued = 16;

  void open_emulator();
  void open_silicon();
  void log_use() const;
  DesignRequest request_of(const OpSpec& spec) const;
  ProjectionDesign& design_for(const OpSpec& spec);
  void report_requantization(const OpSpec& spec, const PackReport& report);
  Artifact make_artifact(const DesignRequest& request, const EmittedDesign& emitted) const;
  void drive() noexcept;
  RunResult run(const NpuProgram& program) noexcept;
  std::string reason_of(const RunResult& result) const;

  NpuOptions options_;
  const Geometry* geometry_ = nullptr;
  BackendInfo info_;
  KernelTable kernel_table_;
  std::unique_ptr<DriverCalls> calls_;
  FakeDriver* fake_ = nullptr;  // calls_, when emulated
  std::unique_ptr<Device> device_;
  std::map<DesignKey, ProjectionDesign> designs_;
  mutable std::map<DesignKey, Support> support_;
  bool has_requantized_ = false;
  mutable std::mutex device_mutex_;  // held while the device is used: by a run, or by setting up
  std::array<NpuOpCounters, 4> counters_{};  // by counter_index; under device_mutex_

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable submitted_, finished_;
  std::array<const NpuProgram*, kMaxQueued> queue_{};  // job t is at t % kMaxQueued
  uint64_t submitted_count_ = 0, finished_count_ = 0;
  uint64_t first_failed_ = UINT64_MAX;  // ticket; later ones fail the same way
  Status failure_status_ = Status::kDone;
  std::string failure_;
  bool stopping_ = false;
  std::thread owner_;
};

NpuBackendImpl::NpuBackendImpl(const NpuOptions& options) : options_(options) {
  if (options.emulated)
    open_emulator();
  else
    open_silicon();
  owner_ = start_thread("the NPU's programs", [this] { drive(); });
}

NpuBackendImpl::~NpuBackendImpl() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  submitted_.notify_one();
  owner_.join();
  log_use();
}

// Where the time of each projection went, for `-v`.
void NpuBackendImpl::log_use() const {
  for (const NpuOpCounters& use : counters()) {
    std::string line = fmt::format(
        "{} {} in {}: {} rows in {} runs; host {:.1f} ms (norms, int8 activations, sums)",
        info_.name, op_info(use.op).name, phase_name(use.phase), use.rows, use.runs,
        use.host_us / 1e3);
    if (fake_ != nullptr)
      line += fmt::format(", emulating {:.1f} ms; predicted: array {:.3f} ms, launches {:.3f} ms",
                          use.device_us / 1e3, use.predicted_array_us / 1e3,
                          use.predicted_launch_us / 1e3);
    else
      line += fmt::format(", waiting for the array {:.1f} ms", use.device_us / 1e3);
    log(LogLevel::kInfo, line);
  }
}

void NpuBackendImpl::open_emulator() {
  geometry_ = &geometry_of(options_.generation);
  add_builtin_kernels(kernel_table_);
  FakeDriverOptions options;
  options.generation = options_.generation;
  options.emulator.timing = default_timing(options_.generation);
  if (options_.clock_hz > 0) options.emulator.timing.clock_hz = options_.clock_hz;
  if (options_.launch_seconds > 0) options.emulator.timing.launch_seconds = options_.launch_seconds;
  options.emulator.wall_seconds_limit = options_.emulation_seconds;
  options.emulator.kernels = &kernel_table_;
  options.zero_results = options_.zero_results;
  info_.name = "npu-emu";
  info_.device = fmt::format("{} array at {:.3f} GHz", geometry_->name,
                             options.emulator.timing.clock_hz / 1e9);
  info_.emulated = true;
  auto fake = std::make_unique<FakeDriver>(options);
  fake_ = fake.get();
  calls_ = std::move(fake);
  device_ = std::make_unique<Device>(*calls_, options.node);
}

void NpuBackendImpl::open_silicon() {
  calls_ = make_kernel_driver_calls();
  const Detection detection = detect_npu(detection_root(), calls_.get());
  for (const Finding& finding : detection.findings)
    if (finding.state == Finding::State::kMissing)
      throw Error(
          detection.present ? ErrorCode::kUnsupported : ErrorCode::kNotFound,
          fmt::format("no usable NPU: {}: {}; {}", finding.subject, finding.value, finding.fix));
  geometry_ = find_geometry(detection.generation);
  TANDEM_CHECK(geometry_ != nullptr, "generation %s", detection.generation.c_str());
  info_.name = "npu";
  info_.device =
      fmt::format("{} ({}), firmware {}", detection.product, geometry_->name, detection.firmware);
  device_ =
      std::make_unique<Device>(*calls_, options_.node.empty() ? detection.node : options_.node);
}

// ---- Setting up ---------------------------------------------------------------------------------

DesignRequest NpuBackendImpl::request_of(const OpSpec& spec) const {
  const ProjectionShape shape = projection_shape(spec);
  DesignRequest request;
  request.generation = geometry_->generation;
  request.op = shape.op;
  request.phase = spec.phase;
  request.rows = design_rows(spec);
  request.inputs = shape.inputs;
  request.outputs = shape.outputs;
  request.scales = options_.scales;
  return request;
}

Support NpuBackendImpl::supports(const OpSpec& spec) const {
  if (spec.op != Op::kQkv && spec.op != Op::kAttnOut)
    return {false, "the NPU runs attention's projections (qkv and out) only"};
  const uint32_t count = spec.op == Op::kQkv ? 4 : 2;
  if (spec.weights.count != count)
    return {false, fmt::format("{} weights, {} are expected", spec.weights.count, count)};
  const auto [entry, is_new] = support_.try_emplace(key_of(spec));
  if (is_new) {
    try {
      emit_design(request_of(spec));
      entry->second.ok = true;
    } catch (const Error& error) {
      entry->second.reason = error.what();
    }
  }
  return entry->second;
}

std::unique_ptr<Weights> NpuBackendImpl::load(const OpSpec& spec,
                                              std::span<const TensorView> file) {
  TANDEM_CHECK(file.size() == spec.weights.count, "%zu tensors for %u weights", file.size(),
               spec.weights.count);
  const std::lock_guard lock(device_mutex_);
  auto weights =
      load_projection_weights(*device_, projection_layout(request_of(spec)).weights, spec, file);
  if (weights->report.requantized) report_requantization(spec, weights->report);
  return weights;
}

// A warning for the first, the rest for who wants to know: a file has as many as it has layers.
void NpuBackendImpl::report_requantization(const OpSpec& spec, const PackReport& report) {
  log(has_requantized_ ? LogLevel::kInfo : LogLevel::kWarn,
      fmt::format("{} holds weights as q4_0 only: {} of layer {} was re-quantised, at a relative "
                  "error of {:.2f} %{}",
                  info_.name, op_info(spec.op).name, spec.layer, 100 * report.requantization_error,
                  has_requantized_ ? "" : "; further ones with -v"));
  has_requantized_ = true;
}

Artifact NpuBackendImpl::make_artifact(const DesignRequest& request,
                                       const EmittedDesign& emitted) const {
  if (options_.emulated) return make_text_artifact(identity_of(request), emitted.text);
  const std::filesystem::path kernels = options_.kernel_sources.empty()
                                            ? unpack_kernel_sources(options_.compiler.cache)
                                            : options_.kernel_sources;
  return Compiler(options_.compiler).compile(source_of(request, emitted, kernels)).artifact;
}

ProjectionDesign& NpuBackendImpl::design_for(const OpSpec& spec) {
  const DesignKey key = key_of(spec);
  if (const auto entry = designs_.find(key); entry != designs_.end()) return entry->second;
  const DesignRequest request = request_of(spec);
  const EmittedDesign emitted = emit_design(request);
  ProjectionDesign design;
  design.layout = projection_layout(request);
  const char* const names[] = {"weights", "activations", "results"};
  TANDEM_CHECK(emitted.buffers.size() == std::size(names), "%zu buffers", emitted.buffers.size());
  for (uint32_t position = 0; position < std::size(names); ++position)
    for (size_t which = 0; which < std::size(names); ++which)
      if (emitted.buffers[position].name == names[which]) design.order[which] = position;
  design.loaded = device_->load(make_artifact(request, emitted));
  design.activations = device_->allocate(design.layout.activations_size());
  design.results = device_->allocate(design.layout.results_size());
  design.row_scales.resize(design.layout.rows);
  if (spec.op == Op::kQkv)
    design.normed.resize(size_t{request.rows} * request.inputs);
  else
    design.sums.resize(size_t{request.rows} * request.outputs);
  return designs_.emplace(key, std::move(design)).first->second;
}

std::unique_ptr<tandem::Kernel> NpuBackendImpl::prepare(const OpSpec& spec,
                                                        const Weights* weights) {
  const std::lock_guard lock(device_mutex_);
  return std::make_unique<ProjectionKernel>(spec, *static_cast<const ProjectionWeights*>(weights),
                                            design_for(spec), options_.run_timeout);
}

std::unique_ptr<Program> NpuBackendImpl::record(std::span<const Step> steps,
                                                const TensorView& batch) {
  auto program = std::make_unique<NpuProgram>();
  program->header = batch.row_as<BatchHeader>(0);
  for (const Step& step : steps) {
    const auto* kernel = static_cast<const ProjectionKernel*>(step.kernel);
    TANDEM_CHECK(step.args.size() == 2, "%zu arguments for a projection", step.args.size());
    program->calls.push_back({kernel, {step.args.begin(), step.args.end()}});
  }
  return program;
}

// ---- Running ------------------------------------------------------------------------------------

Ticket NpuBackendImpl::submit(Program& program, uint32_t rounds) noexcept {
  TANDEM_CHECK(rounds == 1, "%u rounds; only a device that runs the head has more than one",
               rounds);
  std::unique_lock lock(mutex_);
  finished_.wait(lock, [&] { return submitted_count_ - finished_count_ < kMaxQueued; });
  queue_[submitted_count_ % kMaxQueued] = static_cast<const NpuProgram*>(&program);
  const Ticket ticket{++submitted_count_};
  lock.unlock();
  submitted_.notify_one();
  return ticket;
}

Status NpuBackendImpl::wait(Ticket ticket, std::chrono::microseconds timeout) noexcept {
  // Longer than anybody waits, short enough not to overflow the clock.
  constexpr std::chrono::microseconds kForever = std::chrono::hours(24 * 365);
  std::unique_lock lock(mutex_);
  const bool ended = finished_.wait_for(lock, std::min(timeout, kForever),
                                        [&] { return finished_count_ >= ticket.value; });
  if (!ended) return Status::kTimeout;
  return ticket.value >= first_failed_ ? failure_status_ : Status::kDone;
}

void NpuBackendImpl::drive() noexcept {
  std::unique_lock lock(mutex_);
  for (;;) {
    submitted_.wait(lock, [&] { return stopping_ || submitted_count_ > finished_count_; });
    if (submitted_count_ == finished_count_) return;
    const NpuProgram* program = queue_[finished_count_ % kMaxQueued];
    const bool failed = first_failed_ != UINT64_MAX;
    lock.unlock();
    const RunResult result = failed ? RunResult{} : run(*program);
    std::string reason = result.status == Status::kDone ? std::string() : reason_of(result);
    lock.lock();
    ++finished_count_;
    if (result.status != Status::kDone) {
      first_failed_ = finished_count_;
      failure_status_ = result.status;
      failure_ = std::move(reason);
    }
    finished_.notify_all();
  }
}

std::string NpuBackendImpl::reason_of(const RunResult& result) const {
  std::string reason(result.reason);
  const std::lock_guard lock(device_mutex_);
  if (fake_ != nullptr && !fake_->complaint().empty()) reason += ": " + fake_->complaint();
  return reason;
}

RunResult NpuBackendImpl::run(const NpuProgram& program) noexcept {
  const std::lock_guard lock(device_mutex_);
  for (const NpuProgram::Call& call : program.calls) {
    NpuOpCounters& counter = counters_[counter_index(call.kernel->op(), call.kernel->phase())];
    const FakeDriver::Totals before = fake_ != nullptr ? fake_->totals() : FakeDriver::Totals{};
    ProjectionTimes times;
    const RunResult result = call.kernel->run(call.args, program.header->rows, &times);
    if (fake_ != nullptr) {
      const FakeDriver::Totals& after = fake_->totals();
      counter.array_bytes += after.array_bytes_read + after.array_bytes_written -
                             before.array_bytes_read - before.array_bytes_written;
      counter.predicted_array_us += 1e6 * (after.array_seconds - before.array_seconds);
      counter.predicted_launch_us += 1e6 * (after.launch_seconds - before.launch_seconds);
    }
    counter.op = call.kernel->op();
    counter.phase = call.kernel->phase();
    counter.runs += times.runs;
    counter.steps += 1;
    counter.rows += program.header->rows;
    counter.host_us += 1e6 * times.host_seconds;
    counter.device_us += 1e6 * times.device_seconds;
    if (result.status != Status::kDone) return result;
  }
  return {};
}

std::string NpuBackendImpl::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

DeviceCounters NpuBackendImpl::device_counters() const {
  DeviceCounters total;
  const std::lock_guard lock(device_mutex_);
  for (const NpuOpCounters& counter : counters_)
    total.predicted_seconds += 1e-6 * (counter.predicted_array_us + counter.predicted_launch_us);
  return total;
}

std::vector<NpuOpCounters> NpuBackendImpl::counters() const {
  std::vector<NpuOpCounters> used;
  const std::lock_guard lock(device_mutex_);
  for (const NpuOpCounters& counter : counters_)
    if (counter.steps > 0) used.push_back(counter);
  return used;
}

}  // namespace

std::unique_ptr<NpuBackend> make_npu_backend(const NpuOptions& options) {
  return std::make_unique<NpuBackendImpl>(options);
}

}  // namespace tandem::npu
