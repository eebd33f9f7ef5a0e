#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

// The conventions that the command lines of all programs share, over CLI11. Takes seconds to compile: for the files
// that add flags.
namespace longhaul {

// The type name of a text that may be empty. All others are refused where they are given and empty: an empty argument
// is mostly a variable that was not set.
constexpr char kMayBeEmpty[] = "[TEXT]";

// A number of bytes as in 4GiB, 2.5GiB, 512M or 4096, from `least` to `most`; `allowed` says so in words. Units are
// powers of 1024, whatever their case.
CLI::Validator Bytes(int64_t least, int64_t most, const char* allowed);

// Adds --version, parses, and runs the callbacks of `app`. None to go on; otherwise the exit code: 0 after --help and
// --version, 2 after an error, which is told on standard error. Beyond what CLI11 does:
// - numbers are decimal (010 is ten, and 0x10 none), and a number without a sign takes none;
// - `--name=` gives an empty text, which is refused unless the option's type name is kMayBeEmpty;
// - a flag or a subcommand that there is not is named with the nearest one that there is.
std::optional<int> ParseCommandLine(CLI::App& app, int argc, char** argv);

// What the user typed, word by word, the program's name first.
std::vector<std::string> OwnCommandLine();

}  // namespace longhaul
