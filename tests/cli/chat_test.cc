// `tandem chat` on a terminal and from a pipe.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "cli/process.h"

namespace tandem {
namespace {

const std::vector<std::string> kChat = {"chat", "-m", "models/story-14m-q4_0.gguf", "--temp", "0",
                                        "-n",   "6"};
constexpr char kCtrlC[] = "\x03", kCtrlD[] = "\x04", kUp[] = "\x1b[A";

class Chat : public ::testing::Test {
 protected:
  std::map<std::string, std::string> environment() const {
    return {{"HOME", folder_ / "home"}, {"XDG_STATE_HOME", folder_ / "state"}, {"TERM", "xterm"}};
  }
  TemporaryFolder folder_;
};

class ChatOnTerminal : public Chat {
 protected:
  void SetUp() override {
    if (!TerminalProcess::available())
      GTEST_SKIP() << "no pseudo-terminal can be opened; mount /dev/pts";
  }
};

TEST_F(Chat, AnswersLinesOfAPipe) {
  ProcessOptions options;
  options.input = "Tell me a story.\n\"\"\"Say\nhello\"\"\"\n/nonsense\n/clear\n/bye\nnever read\n";
  const Outcome outcome = run_tandem(kChat, options);
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(std::count(outcome.out.begin(), outcome.out.end(), '\n'), 2) << outcome.out;
  EXPECT_EQ(outcome.err,
            "tandem: there is no command /nonsense; /help lists those there are\n"
            "tandem: a new conversation\n");
}

TEST_F(Chat, AFullContextEndsAnAnswerAndNotTheProgram) {
  ProcessOptions options;
  options.input = "Tell me a story.\nAnd another one.\n/clear\nTell me a story.\n";
  auto arguments = kChat;
  arguments.back() = "500";
  arguments.insert(arguments.end(), {"-c", "32", "--ignore-eos"});
  const Outcome outcome = run_tandem(arguments, options);
  EXPECT_EQ(outcome.code, 0);
  EXPECT_NE(outcome.err.find("the context is full; /clear"), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find("0 tokens are left"), std::string::npos) << outcome.err;
  const size_t line = outcome.out.find('\n');
  EXPECT_EQ(outcome.out.substr(0, line), outcome.out.substr(line + 1, line));  // after /clear
}

TEST_F(ChatOnTerminal, CtrlCDropsTheLineAndCtrlDLeaves) {
  TerminalProcess chat(kChat, environment());
  ASSERT_TRUE(chat.wait_for("> ")) << chat.screen();
  chat.type(std::string("half a line") + kCtrlC);
  EXPECT_TRUE(chat.wait_for("Ctrl-D or /bye leaves")) << chat.screen();
  ASSERT_TRUE(chat.wait_for("> "));
  EXPECT_EQ(chat.finish(kCtrlD), 0) << chat.screen();
}

TEST_F(ChatOnTerminal, CtrlCStopsTheAnswer) {
  auto arguments = kChat;
  arguments.back() = "-1";
  arguments.insert(arguments.end(), {"--ignore-eos", "-c", "50000"});
  TerminalProcess chat(arguments, environment());
  ASSERT_TRUE(chat.wait_for("> ")) << chat.screen();
  chat.type("Tell me a story.\r");
  ASSERT_TRUE(chat.wait_for("\n")) << chat.screen();
  ASSERT_TRUE(chat.wait_for(" ")) << chat.screen();
  chat.type(kCtrlC);
  EXPECT_TRUE(chat.wait_for("\n> ")) << chat.screen();
  chat.type("/bye\r");
  EXPECT_EQ(chat.finish(), 0);
}

TEST_F(ChatOnTerminal, HistoryOutlivesTheProgram) {
  {
    TerminalProcess chat(kChat, environment());
    ASSERT_TRUE(chat.wait_for("> "));
    chat.type("/h\xC3\xA4llo w\xC3\xB6rld\r");  // UTF-8 passes through the editor
    ASSERT_TRUE(chat.wait_for("\n> ")) << chat.screen();
    EXPECT_EQ(chat.finish(kCtrlD), 0);
  }
  TerminalProcess chat(kChat, environment());
  ASSERT_TRUE(chat.wait_for("> "));
  chat.type(kUp);
  EXPECT_TRUE(chat.wait_for("h\xC3\xA4llo w\xC3\xB6rld")) << chat.screen();
  EXPECT_EQ(chat.finish(std::string(kCtrlC) + kCtrlD), 0) << chat.screen();
}

}  // namespace
}  // namespace tandem
