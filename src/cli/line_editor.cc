// SPDX-License-Identifier: Apache-2.0
#include "cli/line_editor.h"

#include <histedit.h>
#include <langinfo.h>
#include <unistd.h>

#include <clocale>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <string_view>

#include "base/interrupt.h"

namespace tandem {
namespace {

constexpr int kHistorySize = 1000;  // lines

// libedit edits characters by the locale; a bare machine has none set, and C.UTF-8 is built in.
void use_utf8_locale() {
  std::setlocale(LC_CTYPE, "");
  if (std::string_view(nl_langinfo(CODESET)) != "UTF-8") std::setlocale(LC_CTYPE, "C.UTF-8");
}

}  // namespace

struct LineEditor::Impl {
  std::string prompt;
  std::filesystem::path history_path;
  EditLine* editor = nullptr;
  History* history = nullptr;
  HistEvent event = {};
  bool cancelled = false;  // by Ctrl-C

  static Impl* of(EditLine* editor) {
    Impl* self = nullptr;
    el_get(editor, EL_CLIENTDATA, &self);
    return self;
  }
  // Drawn after the terminal has changed to keys: a Ctrl-C before that was a signal.
  static char* prompt_of(EditLine* editor) {
    static constexpr char kCtrlC[] = "\x03";
    Impl* self = of(editor);
    if (interrupted() && !self->cancelled) {
      self->cancelled = true;
      el_push(editor, kCtrlC);
    }
    return self->prompt.data();
  }
  static unsigned char cancel(EditLine* editor, int) {
    of(editor)->cancelled = true;
    return CC_EOF;
  }
  // What the terminal would do on Ctrl-Z and Ctrl-\ if it sent signals.
  static unsigned char send_signal(EditLine*, int key) {
    constexpr int kCtrlZ = 'Z' - '@';
    kill(0, key == kCtrlZ ? SIGTSTP : SIGQUIT);
    return CC_REFRESH;
  }
  // Keys in place of the terminal's signals: a SIGINT that comes while libedit is drawing, not
  // reading, would be lost.
  void bind_signal_keys() {
    el_set(editor, EL_SETTY, "-d", "-isig", nullptr);
    el_set(editor, EL_ADDFN, "cancel-line", "Drop the line", &Impl::cancel);
    el_set(editor, EL_ADDFN, "send-signal", "Suspend or quit", &Impl::send_signal);
    el_set(editor, EL_BIND, "^C", "cancel-line", nullptr);
    el_set(editor, EL_BIND, "^Z", "send-signal", nullptr);
    el_set(editor, EL_BIND, "\\034", "send-signal", nullptr);
  }
  void open() {
    use_utf8_locale();
    editor = el_init("tandem", stdin, stdout, stderr);
    history = history_init();
    ::history(history, &event, H_SETSIZE, kHistorySize);
    ::history(history, &event, H_SETUNIQUE, 1);
    if (!history_path.empty()) ::history(history, &event, H_LOAD, history_path.c_str());
    el_set(editor, EL_CLIENTDATA, this);
    el_set(editor, EL_PROMPT, &Impl::prompt_of);
    el_set(editor, EL_EDITOR, "emacs");
    el_set(editor, EL_HIST, ::history, history);
    el_set(editor, EL_SIGNAL, 1);  // redraws after a resize and after Ctrl-Z
    el_source(editor, nullptr);    // the user's ~/.editrc
    bind_signal_keys();
  }
  void close() {
    if (!history_path.empty()) {
      std::error_code ignored;  // a history that cannot be kept is no reason to fail
      std::filesystem::create_directories(history_path.parent_path(), ignored);
      ::history(history, &event, H_SAVE, history_path.c_str());
    }
    history_end(history);
    el_end(editor);
  }
};

LineEditor::LineEditor(std::filesystem::path history) : impl_(std::make_unique<Impl>()) {
  impl_->history_path = std::move(history);
  if (isatty(STDIN_FILENO) == 1) impl_->open();
}

LineEditor::~LineEditor() {
  if (is_terminal()) impl_->close();
}

bool LineEditor::is_terminal() const { return impl_->editor != nullptr; }

LineStatus LineEditor::read(std::string_view prompt, std::string& line) {
  if (!is_terminal()) {
    if (std::getline(std::cin, line)) return LineStatus::kLine;
    return interrupted() ? LineStatus::kInterrupted : LineStatus::kEnd;
  }
  impl_->prompt = prompt;
  impl_->cancelled = false;
  // By itself libedit prompts first: keys typed between would go through the terminal's own
  // editing.
  el_set(impl_->editor, EL_PREP_TERM, 1);
  int count = 0;
  const char* text = el_gets(impl_->editor, &count);
  if (impl_->cancelled || interrupted()) {
    el_reset(impl_->editor);
    return LineStatus::kInterrupted;
  }
  if (text == nullptr || count <= 0) return LineStatus::kEnd;
  line.assign(text, static_cast<size_t>(count));
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.pop_back();
  if (!line.empty()) ::history(impl_->history, &impl_->event, H_ENTER, line.c_str());
  return LineStatus::kLine;
}

}  // namespace tandem
