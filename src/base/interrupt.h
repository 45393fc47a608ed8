// Ctrl-C as a flag that long work looks at between steps.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <exception>

namespace tandem {

// From now on the first SIGINT sets the flag; a second one before it is cleared ends the process
// as SIGINT would. Call once, before threads start.
void install_interrupt_handler();

// Thrown to leave long set-up work after Ctrl-C; main() ends the process as SIGINT would.
class Interrupted : public std::exception {};

bool interrupted() noexcept;
void clear_interrupt() noexcept;

// Ends the process the way an unhandled SIGINT does, so that a shell sees status 130.
[[noreturn]] void exit_interrupted();

}  // namespace tandem
