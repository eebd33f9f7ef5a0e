#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

// Conventions that the command lines of all programs share, over CLI11. CLI11 takes seconds to compile: include this
// only where flags are added.
namespace longhaul {

// The type name of an option whose text may be empty. All others refuse an empty argument, which mostly comes from a
// variable that was not set.
constexpr char kMayBeEmpty[] = "[TEXT]";

// A number of bytes as in 4GiB, 2.5GiB, 512M or 4096, from `least` to `most`; `allowed` says so in words. Units are
// powers of 1024, whatever their case.
CLI::Validator Bytes(int64_t least, int64_t most, const char* allowed);

// Adds --version, parses, and runs the callbacks of `app`. None to go on; otherwise the exit code: 0 after --help and
// --version, 2 after an error, which is told on standard error. Beyond what CLI11 does:
// - numbers are decimal (010 is ten, and 0x10 none), and a number without a sign takes none;
// - `--name=` gives an empty text, which is refused unless the option's type name is kMayBeEmpty;
// - an unknown flag or subcommand is reported together with the nearest known one.
std::optional<int> ParseCommandLine(CLI::App& app, int argc, char** argv);

// The command line of this process, word by word, beginning with the program's name.
std::vector<std::string> OwnCommandLine();

}  // namespace longhaul
