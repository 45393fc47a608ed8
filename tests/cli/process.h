// Runs the built `tandem` as a user would and keeps what it said.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/temporary_folder.h"

namespace tandem {

struct Outcome {
  int code = -1;   // exit code, or -1 when a signal ended it
  int signal = 0;  // that signal
  std::string out, err;
};

struct ProcessOptions {
  std::string input;                               // its standard input
  std::string out_path, err_path;                  // output goes there, not into Outcome
  std::map<std::string, std::string> environment;  // added to ours
  long file_limit = -1;                            // RLIMIT_FSIZE in bytes
  int interrupt_after_ms = -1;                     // SIGINT that long after it printed something
  bool close_output = false;                       // nobody reads its standard output
};

// Waits for the end, five minutes at most: a sanitizer on a busy machine is slow.
Outcome run_tandem(const std::vector<std::string>& arguments, const ProcessOptions& options = {});

std::string read_file(const std::filesystem::path& path);

// A process on a terminal of its own: keys in, what the screen was sent out.
class TerminalProcess {
 public:
  // Whether the system has pseudo-terminals: a container may not.
  static bool available();

  TerminalProcess(const std::vector<std::string>& arguments,
                  const std::map<std::string, std::string>& environment);
  ~TerminalProcess();
  TerminalProcess(const TerminalProcess&) = delete;
  TerminalProcess& operator=(const TerminalProcess&) = delete;

  void type(const std::string& keys) const;
  // Reads until `text` has come after what was waited for before; false after a minute.
  bool wait_for(const std::string& text);
  // The exit code, -1 when a signal or this call ended it. Types `keys` until then, twice a second.
  int finish(const std::string& keys = {});
  const std::string& screen() const { return screen_; }

 private:
  bool read_some(int timeout_ms);

  int terminal_ = -1, process_ = -1;
  std::string screen_;
  size_t seen_ = 0;
};

}  // namespace tandem
