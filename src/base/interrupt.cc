// SPDX-License-Identifier: Apache-2.0
#include "base/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>

namespace tandem {
namespace {

std::atomic<bool> flag{false};
static_assert(std::atomic<bool>::is_always_lock_free, "the handler must not lock");

void end_by_signal() {
  signal(SIGINT, SIG_DFL);
  raise(SIGINT);
}

void on_interrupt(int) {
  if (flag.exchange(true)) end_by_signal();
}

}  // namespace

void install_interrupt_handler() {
  struct sigaction action = {};
  action.sa_handler = on_interrupt;
  sigemptyset(&action.sa_mask);  // no SA_RESTART: a blocked read of the terminal returns
  sigaction(SIGINT, &action, nullptr);
}

bool interrupted() noexcept { return flag.load(std::memory_order_relaxed); }

void clear_interrupt() noexcept { flag.store(false, std::memory_order_relaxed); }

void exit_interrupted() {
  end_by_signal();
  _exit(130);
}

}  // namespace tandem
