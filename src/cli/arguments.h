// Conventions of the command line that the parsing library does not know.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tandem {

// The arguments after the program's name, in the reversed order that CLI::App::parse takes.
// llama.cpp's short names of several letters (-ub, -ctk, -ctv, -sys, -pg) become the long ones, and
// `help COMMAND` becomes `COMMAND --help`.
std::vector<std::string> expand_arguments(int argc, char** argv);

// Parses and runs the command. Every complaint about the arguments is an Error of kind kUsage, one
// sentence that ends with how to get help. Returns false when help or the version was asked for,
// which is printed.
bool parse(CLI::App& app, std::vector<std::string> arguments);

// Help as users type the options: "-ub, --ubatch-size N", with defaults and no types of C++.
void set_help_format(CLI::App& app);

// Checks of an option's text. Both take plain decimal numbers only.
CLI::Validator whole_number(int64_t least, int64_t most);
CLI::Validator real_number();

}  // namespace tandem
