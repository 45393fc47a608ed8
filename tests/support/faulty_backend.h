// A backend that computes on another one and then spoils the result: the test of the tests.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <vector>

#include "backend/backend.h"

namespace tandem {

enum class Fault : uint8_t {
  kNone,           // works on a copy, as a device with its own memory does, and correctly
  kSpoilsElement,  // one element is off
  kDropsTail,      // the end of the last row is never written
  kWritesNan,
  kWritesPast,    // writes one element beyond the last row
  kSkipsRelease,  // what the device wrote never reaches the host
};

// Spoils the first operand of each program's last step.
class FaultyBackend : public Backend {
 public:
  FaultyBackend(Backend& inner, Fault fault) : inner_(inner), fault_(fault) {}

  const BackendInfo& info() const override { return inner_.info(); }
  Support supports(const OpSpec& spec) const override { return inner_.supports(spec); }
  std::unique_ptr<Weights> load(const OpSpec& spec, std::span<const TensorView> file) override {
    return inner_.load(spec, file);
  }
  std::unique_ptr<Kernel> prepare(const OpSpec& spec, const Weights* weights) override {
    return inner_.prepare(spec, weights);
  }

  std::unique_ptr<Program> record(std::span<const Step> steps, const TensorView& batch) override {
    auto program = std::make_unique<Recorded>();
    program->inner = inner_.record(steps, batch);
    program->target = steps.back().args[0];
    program->batch = batch;
    program->in_place = steps.back().args.size() == 5;
    return program;
  }

  Ticket submit(Program& program, uint32_t rounds) noexcept override {
    auto& recorded = static_cast<Recorded&>(program);
    SharedMemory& memory = *recorded.target.memory;
    const std::vector<std::byte> before(memory.data(), memory.data() + memory.size());
    const Ticket ticket = inner_.submit(*recorded.inner, rounds);
    inner_.wait(ticket, std::chrono::minutes(1));
    spoil(recorded, before);
    // The host keeps seeing what was there until the import releases it.
    std::vector<std::byte>& device = device_memory_[&memory];
    device.assign(memory.data(), memory.data() + memory.size());
    std::memcpy(memory.data(), before.data(), before.size());
    return ticket;
  }
  Status wait(Ticket ticket, std::chrono::microseconds timeout) noexcept override {
    return inner_.wait(ticket, timeout);
  }

  std::unique_ptr<Import> import(SharedMemory& memory) override {
    return std::make_unique<StagedImport>(*this, memory);
  }

 private:
  struct Recorded : Program {
    std::unique_ptr<Program> inner;
    TensorView target, batch;
    bool in_place = false;  // more is in a row than the op writes
  };

  class StagedImport : public Import {
   public:
    StagedImport(FaultyBackend& backend, SharedMemory& memory)
        : backend_(backend), memory_(memory) {}
    bool zero_copy() const override { return false; }
    void acquire(Access, size_t, size_t) override {}
    void release(Access, size_t offset, size_t size) override {
      const std::vector<std::byte>& device = backend_.device_memory_[&memory_];
      if (backend_.fault_ == Fault::kSkipsRelease || device.empty()) return;
      std::memcpy(memory_.data() + offset, device.data() + offset, size);
    }

   private:
    FaultyBackend& backend_;
    SharedMemory& memory_;
  };

  // `before` is the memory as it was before the program ran.
  void spoil(const Recorded& recorded, const std::vector<std::byte>& before) const {
    const TensorView& target = recorded.target;
    const auto* header = recorded.batch.row_as<BatchHeader>(0);
    const uint32_t written = header->outputs != 0 ? header->outputs : header->rows;
    // kQkNormRope writes the first half of its rows at least, the others all of them.
    float* row = target.row_as<float>(written - 1);
    float* middle = &row[target.cols() / 3];
    const uint32_t tail = recorded.in_place ? target.cols() / 3 : target.cols() - 1;
    const size_t tail_offset =
        static_cast<size_t>(reinterpret_cast<std::byte*>(row + tail) - target.memory->data());
    switch (fault_) {
      case Fault::kNone:
      case Fault::kSkipsRelease: break;
      case Fault::kSpoilsElement: *middle += 1.0f; break;
      case Fault::kDropsTail:
        std::memcpy(row + tail, before.data() + tail_offset, sizeof(float));
        break;
      case Fault::kWritesNan: *middle = std::numeric_limits<float>::quiet_NaN(); break;
      case Fault::kWritesPast: *target.row_as<float>(written) = 1.0f; break;
    }
  }

  Backend& inner_;
  Fault fault_;
  std::map<const SharedMemory*, std::vector<std::byte>> device_memory_;
};

}  // namespace tandem
