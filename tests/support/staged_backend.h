// A device with memory of its own, computed by another backend: what it reads must have been handed
// to it, and what it wrote must be fetched. Counts its copies, and fails when told to.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "base/error.h"

namespace tandem {

class StagedBackend : public Backend {
 public:
  // `inner` computes in host memory and outlives this.
  StagedBackend(Backend& inner, std::string name) : inner_(inner), info_(inner.info()) {
    info_.name = std::move(name);
  }

  // The n-th submit from now on (0: the next) fails; the ones after it work.
  void fail_at(int submit) { submits_until_failure_ = submit; }
  // From now on nothing can be copied to the device.
  void refuse_copies(bool refuse) { refuses_copies_ = refuse; }
  uint64_t copied_in() const { return copied_in_; }
  uint64_t copied_out() const { return copied_out_; }

  const BackendInfo& info() const override { return info_; }
  Support supports(const OpSpec& spec) const override { return inner_.supports(spec); }
  std::unique_ptr<Weights> load(const OpSpec& spec, std::span<const TensorView> file) override {
    return inner_.load(spec, file);
  }
  std::unique_ptr<Kernel> prepare(const OpSpec& spec, const Weights* weights) override {
    return inner_.prepare(spec, weights);
  }
  std::unique_ptr<Program> record(std::span<const Step> steps, const TensorView& batch) override {
    std::vector<std::vector<TensorView>> args;
    for (const Step& step : steps) {
      args.emplace_back();
      for (const TensorView& view : step.args) args.back().push_back(own(view));
    }
    std::vector<Step> mine;
    for (size_t i = 0; i < steps.size(); ++i) mine.push_back({steps[i].kernel, args[i]});
    return inner_.record(mine, own(batch));
  }
  Ticket submit(Program& program, uint32_t rounds) noexcept override {
    failed_ = submits_until_failure_ == 0;
    if (submits_until_failure_ >= 0) --submits_until_failure_;
    return failed_ ? Ticket{} : inner_.submit(program, rounds);
  }
  Status wait(Ticket ticket, std::chrono::microseconds timeout) noexcept override {
    return failed_ ? Status::kDeviceLost : inner_.wait(ticket, timeout);
  }
  std::string failure() const override { return "the test pulled the plug"; }
  std::unique_ptr<Import> import(SharedMemory& memory) override {
    return std::make_unique<Copy>(*this, memory);
  }

 private:
  class Copy : public Import {
   public:
    Copy(StagedBackend& device, SharedMemory& host)
        : device_(device), host_(host), own_(host.size(), "a test device's memory") {
      // What nobody handed over is wrong on purpose: NaN as f16 and f32.
      std::memset(own_.data(), 0xff, own_.size());
    }
    bool zero_copy() const override { return false; }
    void acquire(Access access, size_t offset, size_t size) override {
      if (access != Access::kRead) return;
      if (device_.refuses_copies_) throw Error(ErrorCode::kDeviceLost, "no copy");
      std::memcpy(own_.data() + offset, host_.data() + offset, size);
      device_.copied_in_ += size;
    }
    void release(Access access, size_t offset, size_t size) override {
      if (access != Access::kWrite) return;
      std::memcpy(host_.data() + offset, own_.data() + offset, size);
      device_.copied_out_ += size;
    }
    SharedMemory& own() { return own_; }

   private:
    StagedBackend& device_;
    SharedMemory& host_;
    SharedMemory own_;
  };

  TensorView own(TensorView view) {
    if (view.memory != nullptr)
      view.memory = &static_cast<Copy&>(view.memory->import_for(*this)).own();
    return view;
  }

  Backend& inner_;
  BackendInfo info_;
  int submits_until_failure_ = -1;
  bool failed_ = false, refuses_copies_ = false;
  uint64_t copied_in_ = 0, copied_out_ = 0;
};

}  // namespace tandem
