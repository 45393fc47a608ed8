// A kernel that a core is calling. It may have to wait for its cascade in the middle, so it can run
// on a stack of its own, which it leaves while it waits.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ucontext.h>

#include <array>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>

namespace tandem::npu {

// What the cascade moves at a time.
using CascadeWord = std::array<std::byte, 64>;

inline constexpr size_t kCascadeDepth = 4;  // words between two cores (AMD AM020)

// The two ends of a core's cascade; false while a word does not fit, or none is there.
class Cascade {
 public:
  virtual ~Cascade() = default;
  virtual bool try_put(const CascadeWord& word) = 0;
  virtual bool try_get(CascadeWord& word) = 0;
};

class KernelCall {
 public:
  explicit KernelCall(std::function<void()> body) : body_(std::move(body)) {}
  KernelCall(const KernelCall&) = delete;
  KernelCall& operator=(const KernelCall&) = delete;

  // Runs the kernel on the caller's stack. It must not use the cascade.
  void run_through() {
    if (body_) body_();
  }

  // Runs the kernel until it ends (true) or waits for the cascade (false). Rethrows what it throws.
  bool resume(Cascade& cascade);

 private:
  static constexpr size_t kStackSize = size_t{1} << 20;

  static void enter();

  friend void put_cascade_word(const void* word);
  friend void get_cascade_word(void* word);
  void leave();

  std::function<void()> body_;
  std::unique_ptr<std::byte[]> stack_;
  ucontext_t own_{}, caller_{};
  Cascade* cascade_ = nullptr;
  bool ended_ = false;
  std::exception_ptr failure_;
};

// For kernels: move one word, waiting as long as it takes. Only inside KernelCall::resume().
void put_cascade_word(const void* word);
void get_cascade_word(void* word);

}  // namespace tandem::npu
