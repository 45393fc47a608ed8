// Lines typed at a terminal, with editing and history by libedit; plain lines from a pipe.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace tandem {

enum class LineStatus { kLine, kEnd, kInterrupted };

class LineEditor {
 public:
  // History is kept in `history` across runs; an empty path keeps it in memory only.
  explicit LineEditor(std::filesystem::path history);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  bool is_terminal() const;
  // The next line without its newline; a terminal shows `prompt` in front. kEnd at the end of input
  // (Ctrl-D on an empty line), kInterrupted on Ctrl-C: what was typed is dropped, and the caller
  // clears the interrupt.
  LineStatus read(std::string_view prompt, std::string& line);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tandem
