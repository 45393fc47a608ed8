// SPDX-License-Identifier: Apache-2.0
#include "cpu/cpu_backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/check.h"
#include "base/threads.h"
#include "cpu/bandwidth.h"
#include "cpu/executor.h"
#include "cpu/isa.h"
#include "tensor/quantize.h"

namespace tandem::cpu {
namespace {

// Host memory needs no moving: the host's view is the device's.
class HostImport : public Import {
 public:
  bool zero_copy() const override { return true; }
  void acquire(Access, size_t, size_t) override {}
  void release(Access, size_t, size_t) override {}
};

Support supports_layer(const OpSpec& spec) {
  const LayerConfig& c = *spec.config;
  if (c.head_dim == 0 || c.head_dim % kBlock != 0)
    return {false, fmt::format("head_dim {} is not a multiple of {}", c.head_dim, kBlock)};
  if (c.kv_heads == 0 || c.heads % c.kv_heads != 0)
    return {false, fmt::format("{} heads do not share {} KV heads", c.heads, c.kv_heads)};
  if (spec.kv != DType::kF32 && spec.kv != DType::kF16 && spec.kv != DType::kI8)
    return {false, fmt::format("a {} cache", dtype_name(spec.kv))};
  return {true, {}};
}

Support supports_op(const OpSpec& spec) {
  switch (spec.op) {
    case Op::kMatmul:
      if (spec.weights.count < 1 || spec.weights.count > 3)
        return {false, fmt::format("{} matrices; 1 to 3 can be multiplied", spec.weights.count)};
      for (uint32_t i = 0; i < spec.weights.count; ++i)
        if (!weight_kind(spec.weights.types[i]))
          return {false, fmt::format("{} weights", dtype_name(spec.weights.types[i]))};
      return {true, {}};
    case Op::kQkNormRope:
    case Op::kAttention: return supports_layer(spec);
    case Op::kEmbed:
    case Op::kRmsNorm:
    case Op::kRmsNormAdd:
    case Op::kGeglu:
    case Op::kGather:
    case Op::kArgmax:
    case Op::kTopK: return {true, {}};
    case Op::kQkv:
    case Op::kAttnCore:
    case Op::kAttnOut:
    case Op::kFfn:
    case Op::kHead: break;
  }
  return {false, "the CPU runs a node's primitives, not the node"};
}

class CpuBackend : public Backend {
 public:
  explicit CpuBackend(const CpuOptions& options)
      : kernels_(choose_kernels(options.isa)), pool_(options.threads), executor_(pool_) {
    info_.name = "cpu";
    info_.maps_embedding = true;
    info_.device = fmt::format("{}, {}, {} {}", cpu_name(), kernels_.name, pool_.size(),
                               pool_.size() == 1 ? "thread" : "threads");
    driver_ = start_thread("the CPU's programs", [this] { drive(); });
  }

  ~CpuBackend() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    submitted_.notify_one();
    driver_.join();
  }

  const BackendInfo& info() const override { return info_; }
  Support supports(const OpSpec& spec) const override { return supports_op(spec); }
  std::unique_ptr<Import> import(SharedMemory&) override { return std::make_unique<HostImport>(); }

  std::unique_ptr<Weights> load(const OpSpec& spec, std::span<const TensorView> file) override;
  std::unique_ptr<Kernel> prepare(const OpSpec& spec, const Weights* weights) override;
  std::unique_ptr<Program> record(std::span<const Step> steps, const TensorView& batch) override;
  Ticket submit(Program& program, uint32_t rounds) noexcept override;
  Status wait(Ticket ticket, std::chrono::microseconds timeout) noexcept override;
  double measure_read_bandwidth() override {
    return 1e9 * cpu::measure_read_bandwidth(pool_.size());
  }

 private:
  struct Job {
    const CpuProgram* program;
    uint32_t rounds;
  };
  static constexpr size_t kMaxQueued = 16;

  void drive() noexcept;

  BackendInfo info_;
  const Kernels& kernels_;
  ThreadPool pool_;
  Executor executor_;
  std::mutex pool_mutex_;  // held while the pool works: on a program, or on packing weights

  std::mutex mutex_;  // guards what follows
  std::condition_variable submitted_, finished_;
  std::array<Job, kMaxQueued> queue_{};  // job t is at t % kMaxQueued
  uint64_t submitted_count_ = 0, finished_count_ = 0;
  bool stopping_ = false;
  std::thread driver_;
};

std::unique_ptr<Weights> CpuBackend::load(const OpSpec& spec, std::span<const TensorView> file) {
  TANDEM_CHECK(file.size() == spec.weights.count, "%zu tensors for %u weights", file.size(),
               spec.weights.count);
  auto weights = std::make_unique<CpuWeights>();
  for (const TensorView& tensor : file) {
    if (spec.op == Op::kEmbed) {
      weights->table = tensor;
    } else if (spec.op == Op::kMatmul) {
      const std::lock_guard lock(pool_mutex_);
      weights->matrices.push_back(pack_matrix(tensor, kernels_.tile, pool_));
    } else {
      std::vector<float>& vector = weights->vectors.emplace_back(tensor.element_count());
      dequantize_row(tensor.dtype, tensor.data(), vector.data(), vector.size());
    }
  }
  return weights;
}

std::unique_ptr<Kernel> CpuBackend::prepare(const OpSpec& spec, const Weights* weights) {
  return make_kernel(spec, static_cast<const CpuWeights*>(weights), kernels_, pool_.size());
}

std::unique_ptr<Program> CpuBackend::record(std::span<const Step> steps, const TensorView& batch) {
  auto program = std::make_unique<CpuProgram>();
  program->header = batch.row_as<BatchHeader>(0);
  program->rows = batch.row_as<BatchRow>(1);
  const std::lock_guard lock(pool_mutex_);
  executor_.reserve({});
  for (const Step& step : steps) {
    const auto* kernel = static_cast<const CpuKernel*>(step.kernel);
    const OpInfo& op = op_info(kernel->spec().op);
    TANDEM_CHECK(step.args.size() == size_t{op.writes} + op.reads, "%zu arguments for %s",
                 step.args.size(), op.name.data());
    executor_.reserve(kernel->bind(step.args));
    program->calls.push_back({kernel, {step.args.begin(), step.args.end()}});
  }
  return program;
}

Ticket CpuBackend::submit(Program& program, uint32_t rounds) noexcept {
  std::unique_lock lock(mutex_);
  finished_.wait(lock, [&] { return submitted_count_ - finished_count_ < kMaxQueued; });
  queue_[submitted_count_ % kMaxQueued] = {static_cast<const CpuProgram*>(&program), rounds};
  ++submitted_count_;
  const Ticket ticket{submitted_count_};
  lock.unlock();
  submitted_.notify_one();
  return ticket;
}

Status CpuBackend::wait(Ticket ticket, std::chrono::microseconds timeout) noexcept {
  // Longer than anybody waits, short enough not to overflow the clock.
  constexpr std::chrono::microseconds kForever = std::chrono::hours(24 * 365);
  std::unique_lock lock(mutex_);
  const bool done = finished_.wait_for(lock, std::min(timeout, kForever),
                                       [&] { return finished_count_ >= ticket.value; });
  return done ? Status::kDone : Status::kTimeout;
}

// The thread that counts as the pool's first: it takes programs in turn, to the last one.
void CpuBackend::drive() noexcept {
  std::unique_lock lock(mutex_);
  for (;;) {
    submitted_.wait(lock, [&] { return stopping_ || submitted_count_ > finished_count_; });
    if (submitted_count_ == finished_count_) return;
    const Job job = queue_[finished_count_ % kMaxQueued];
    lock.unlock();
    {
      const std::lock_guard pool_lock(pool_mutex_);
      executor_.run(*job.program, job.rounds);
    }
    lock.lock();
    ++finished_count_;
    finished_.notify_all();
  }
}

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(const CpuOptions& options) {
  return std::make_unique<CpuBackend>(options);
}

}  // namespace tandem::cpu
