// See kernel_call.h.
// SPDX-License-Identifier: Apache-2.0
#include "npu/emulator/kernel_call.h"

#include <cstring>

#include "base/error.h"

namespace tandem::npu {
namespace {

thread_local KernelCall* running = nullptr;

}  // namespace

// The first function on the kernel's stack.
void KernelCall::enter() {
  KernelCall& call = *running;
  try {
    if (call.body_) call.body_();
  } catch (...) {
    call.failure_ = std::current_exception();
  }
  call.ended_ = true;
  call.leave();
}

void KernelCall::leave() { swapcontext(&own_, &caller_); }

bool KernelCall::resume(Cascade& cascade) {
  if (stack_ == nullptr) {
    stack_ = std::make_unique_for_overwrite<std::byte[]>(kStackSize);
    getcontext(&own_);
    own_.uc_stack.ss_sp = stack_.get();
    own_.uc_stack.ss_size = kStackSize;
    makecontext(&own_, &KernelCall::enter, 0);
  }
  cascade_ = &cascade;
  KernelCall* const outer = running;
  running = this;
  swapcontext(&caller_, &own_);
  running = outer;
  if (failure_) std::rethrow_exception(failure_);
  return ended_;
}

void put_cascade_word(const void* word) {
  if (running == nullptr)
    throw Error(ErrorCode::kInvalidFile,
                "a kernel uses the cascade on a core without one; add an aie.cascade_flow");
  CascadeWord copy;
  std::memcpy(copy.data(), word, copy.size());
  while (!running->cascade_->try_put(copy)) running->leave();
}

void get_cascade_word(void* word) {
  if (running == nullptr)
    throw Error(ErrorCode::kInvalidFile,
                "a kernel uses the cascade on a core without one; add an aie.cascade_flow");
  CascadeWord copy;
  while (!running->cascade_->try_get(copy)) running->leave();
  std::memcpy(word, copy.data(), copy.size());
}

}  // namespace tandem::npu
