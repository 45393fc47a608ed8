// SPDX-License-Identifier: Apache-2.0
#include "cli/process.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <fstream>
#include <iterator>
#include <thread>

namespace tandem {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kProcessLimit{300}, kScreenLimit{60};

// In the child: never returns.
[[noreturn]] void execute(const std::vector<std::string>& arguments,
                          const std::map<std::string, std::string>& environment) {
  for (const auto& [name, value] : environment) setenv(name.c_str(), value.c_str(), 1);
  std::vector<char*> pointers = {const_cast<char*>(TANDEM_BINARY)};
  for (const std::string& argument : arguments)
    pointers.push_back(const_cast<char*>(argument.c_str()));
  pointers.push_back(nullptr);
  execv(TANDEM_BINARY, pointers.data());
  _exit(127);
}

void redirect(const std::filesystem::path& path, int flags, int to) {
  const int file = open(path.c_str(), flags, 0600);
  if (file < 0 || dup2(file, to) < 0) _exit(126);
}

void prepare_child(const ProcessOptions& options, const TemporaryFolder& folder) {
  constexpr int kWrite = O_WRONLY | O_CREAT | O_TRUNC;
  redirect(folder / "in", O_RDONLY, STDIN_FILENO);
  redirect(options.err_path.empty() ? folder / "err" : std::filesystem::path(options.err_path),
           kWrite, STDERR_FILENO);
  if (options.close_output) {
    std::array<int, 2> ends{};
    if (pipe(ends.data()) != 0) _exit(126);
    close(ends[0]);
    dup2(ends[1], STDOUT_FILENO);
  } else {
    redirect(options.out_path.empty() ? folder / "out" : std::filesystem::path(options.out_path),
             kWrite, STDOUT_FILENO);
  }
  if (options.file_limit >= 0) {
    const auto limit = static_cast<rlim_t>(options.file_limit);
    const rlimit limits = {limit, limit};
    setrlimit(RLIMIT_FSIZE, &limits);
  }
  signal(SIGINT, SIG_DFL);
  signal(SIGPIPE, SIG_DFL);
}

bool is_filled(const std::filesystem::path& path) {
  struct stat status {};
  return stat(path.c_str(), &status) == 0 && status.st_size > 0;
}

}  // namespace

Outcome run_tandem(const std::vector<std::string>& arguments, const ProcessOptions& options) {
  const TemporaryFolder folder;
  folder.write("in", options.input);
  const pid_t process = fork();
  if (process == 0) {
    prepare_child(options, folder);
    execute(arguments, options.environment);
  }
  int status = 0;
  bool interrupted = options.interrupt_after_ms < 0;
  const auto limit = Clock::now() + kProcessLimit;
  while (waitpid(process, &status, WNOHANG) == 0) {
    if (!interrupted && is_filled(folder / "out")) {
      std::this_thread::sleep_for(std::chrono::milliseconds(options.interrupt_after_ms));
      kill(process, SIGINT);
      interrupted = true;
    }
    if (Clock::now() > limit) kill(process, SIGKILL);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  Outcome outcome;
  if (WIFEXITED(status)) outcome.code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) outcome.signal = WTERMSIG(status);
  outcome.out = read_file(folder / "out");
  outcome.err = read_file(folder / "err");
  return outcome;
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

bool TerminalProcess::available() {
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY);
  if (terminal < 0) return false;
  close(terminal);
  return true;
}

TerminalProcess::TerminalProcess(const std::vector<std::string>& arguments,
                                 const std::map<std::string, std::string>& environment) {
  winsize size = {};
  size.ws_row = 24;
  size.ws_col = 200;
  process_ = forkpty(&terminal_, nullptr, nullptr, &size);
  if (process_ == 0) {
    signal(SIGINT, SIG_DFL);
    execute(arguments, environment);
  }
  if (process_ < 0) abort();  // available() was not asked
}

TerminalProcess::~TerminalProcess() {
  if (process_ > 0) {
    kill(process_, SIGKILL);
    finish();
  }
  close(terminal_);
}

void TerminalProcess::type(const std::string& keys) const {
  if (write(terminal_, keys.data(), keys.size()) != static_cast<ssize_t>(keys.size())) abort();
}

bool TerminalProcess::read_some(int timeout_ms) {
  pollfd waiting = {terminal_, POLLIN, 0};
  if (poll(&waiting, 1, timeout_ms) <= 0) return false;
  std::array<char, 4096> buffer;
  const ssize_t got = read(terminal_, buffer.data(), buffer.size());
  if (got <= 0) return false;
  screen_.append(buffer.data(), static_cast<size_t>(got));
  return true;
}

bool TerminalProcess::wait_for(const std::string& text) {
  const auto limit = Clock::now() + kScreenLimit;
  while (Clock::now() < limit) {
    const size_t found = screen_.find(text, seen_);
    if (found != std::string::npos) {
      seen_ = found + text.size();
      return true;
    }
    read_some(100);
  }
  return false;
}

int TerminalProcess::finish(const std::string& keys) {
  int status = 0;
  const auto limit = Clock::now() + kScreenLimit;
  auto next_keys = Clock::now();
  while (waitpid(process_, &status, WNOHANG) == 0) {
    if (!keys.empty() && Clock::now() >= next_keys) {
      type(keys);
      next_keys = Clock::now() + std::chrono::milliseconds(500);
    }
    read_some(20);
    if (Clock::now() > limit) kill(process_, SIGKILL);
  }
  process_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace tandem
