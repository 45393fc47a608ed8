// A device that runs ops: the interface that cpu, vulkan and npu implement.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "backend/op.h"
#include "tensor/shared_memory.h"
#include "tensor/tensor_view.h"

namespace tandem {

struct BackendInfo {
  std::string name;    // as in plans: "cpu", "vulkan", "vulkan:1", "npu-emu"
  std::string device;  // for people: "AMD Ryzen 7 8845HS, avx512"
  bool emulated = false;
  bool software = false;        // a software rasteriser: never chosen unless named
  bool host_memory = true;      // what it holds is in the host's memory
  bool maps_embedding = false;  // reads kEmbed's rows in the mapped file
  uint32_t rounds = 1;          // decode rounds worth submitting together
};

// An answer, not an error: the reason is printed by `tandem plan --explain`.
struct Support {
  bool ok = false;
  std::string reason;  // why not, as a clause: "head_dim 48 is not a multiple of 32"
};

struct Ticket {
  uint64_t value = 0;
};
enum class Status : uint8_t {
  kDone,
  kTimeout,
  kDeviceLost,
  kWrongResult,  // found by the shadow check
};

// What only a device knows of its use, since it was opened.
struct DeviceCounters {
  // Bytes of its own memory in use now, as its driver counts them; 0: unknown, or the host's.
  uint64_t driver_memory = 0;
  // Of an emulated device: how long its programs would have kept the real one busy, by its model.
  double predicted_seconds = 0;
};

// Weights in the device's own layout: the sole copy it keeps.
class Weights {
 public:
  virtual ~Weights() = default;
  virtual size_t size() const = 0;  // bytes resident on the device for it
};

// An op made ready: pipelines chosen, a design loaded.
class Kernel {
 public:
  virtual ~Kernel() = default;
};

struct Step {
  Kernel* kernel = nullptr;
  std::span<const TensorView> args;  // as op.h lists them; need live only during record()
};

// A run of steps, recorded once, submitted for every token or chunk.
class Program {
 public:
  virtual ~Program() = default;
};

// Setting up (supports .. record) happens on one thread and throws Error. submit is called from
// one thread at a time, wait from any; neither throws or allocates. Objects a backend makes must be
// destroyed before it, programs before kernels, kernels before weights.
class Backend : public Importer {
 public:
  virtual const BackendInfo& info() const = 0;

  // Pure: whether the device runs this op with these types and sizes.
  virtual Support supports(const OpSpec& spec) const = 0;

  // Takes the op's weights (views into the mapped file, in op.h's order) into the device's layout,
  // at the file's precision. The views' bytes may be dropped afterwards, except for kEmbed, whose
  // table stays mapped while the backend lives.
  virtual std::unique_ptr<Weights> load(const OpSpec& spec, std::span<const TensorView> file) = 0;

  // `weights` is null for ops without weights and must outlive the kernel.
  virtual std::unique_ptr<Kernel> prepare(const OpSpec& spec, const Weights* weights) = 0;

  // `batch` is the batch buffer (op.h), read anew at each submit. Views must outlive the program.
  virtual std::unique_ptr<Program> record(std::span<const Step> steps, const TensorView& batch) = 0;

  // Runs the program `rounds` times; with more than one, after each round the argmax of output i
  // becomes the token of its row and the row's position advances by one, on the device. The ids of
  // round r are written to row r of the kArgmax step's ids.
  virtual Ticket submit(Program& program, uint32_t rounds) noexcept = 0;
  virtual Status wait(Ticket ticket, std::chrono::microseconds timeout) noexcept = 0;

  // Bytes that weights, caches and activations may still take on the device. By default the
  // host's available memory.
  virtual uint64_t available_memory() const;

  // Bytes per second that plain loads stream from the device's memory, measured now (a second or
  // so); 0 where that means nothing, as for an emulated device.
  virtual double measure_read_bandwidth() { return 0; }

  // Not while a program runs.
  virtual DeviceCounters device_counters() const { return {}; }

  // After a status other than kDone: one sentence on what failed.
  virtual std::string failure() const { return {}; }
};

}  // namespace tandem
