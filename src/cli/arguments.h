// Conventions of the command line that the parsing library does not know.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App;
}

namespace tandem {

// The arguments after the program's name, in the reversed order that CLI::App::parse takes, with
// llama.cpp's short names of several letters (-ub, -ctk, -ctv, -sys) replaced by the long ones.
std::vector<std::string> expand_aliases(int argc, char** argv);

// "run " when that subcommand was being parsed, "" before one is known.
std::string selected_command(const CLI::App& app);

// The parsing library's message without its trailing newline or full stop.
std::string one_sentence(std::string_view message);

}  // namespace tandem
