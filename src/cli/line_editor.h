// Lines typed at a terminal, with editing and history by libedit; plain lines from a pipe.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <string>

namespace tandem {

enum class LineStatus { kLine, kEnd, kInterrupted };

class LineEditor {
 public:
  // History is kept in `history` across runs; an empty path keeps it in memory only.
  LineEditor(std::string prompt, std::filesystem::path history);
  ~LineEditor();

  bool is_terminal() const;
  // The next line without its newline. kEnd at the end of input (Ctrl-D), kInterrupted on Ctrl-C.
  LineStatus read(std::string& line);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tandem
