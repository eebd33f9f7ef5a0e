#include "client/command_flags.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iostream>

namespace longhaul {
namespace {

// A directory opens, and fails when it is read.
absl::StatusOr<std::string> ReadAll(std::istream& stream, const std::string& name) {
  std::string text;
  char part[1 << 16];
  while (stream.read(part, sizeof part), stream.gcount() > 0) text.append(part, static_cast<size_t>(stream.gcount()));
  if (!stream.eof()) return absl::InvalidArgumentError(absl::StrCat("cannot read ", name));
  return text;
}

std::string CheckTimeout(const std::string& value) {
  double seconds = 0;
  if (CLI::detail::lexical_cast(value, seconds) && seconds >= 0) return "";
  return value + " is not a number of seconds, 0 or more";
}

std::string CheckRequestId(const std::string& id) {
  const bool printable = std::all_of(id.begin(), id.end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
  return printable && id.size() <= 128 ? "" : "it must be at most 128 characters of printable ASCII";
}

}  // namespace

void AddConnection(CLI::App& command, Common& common) {
  command.add_option("--target", common.target, "HOST:PORT of the server")
      ->envname("LONGHAUL_TARGET")
      ->capture_default_str();
  command.add_flag("--json", common.json, "print for machines: the messages, one JSON object a line");
  command.add_option("--timeout", common.timeout, "end the request after so many seconds; 0: never")
      ->check(CheckTimeout, "SECONDS");
}

void AddRequestId(CLI::App& command, Common& common) {
  command
      .add_option("--request-id", common.request_id,
                  "name the request in the server's log, for `longhaul ps` and for `longhaul cancel`")
      ->check(CheckRequestId, "NAME");
}

void AddPrompt(CLI::App& command, PromptFlags& flags) {
  command.add_option("prompt", flags.text, "the text; without it (and without a file) standard input is read");
  command.add_option("--prompt-file", flags.file, "read the text from a file; a text given too follows it");
}

void AddPosition(CLI::App& command, std::string& position) {
  command.add_option(
      "--position", position,
      absl::StrCat(
          "how positions are computed, so that a text may be longer than the model was trained for: ", KnownPositions(),
          ", with parameters as in rerope:window=2048, yarn:factor=4 or "
          "beta-mixed:b=0.75,factor=12,log-n=0 (the preset of the author's code); by default auto, plain as "
          "long as that fits. `longhaul info --position MODE --dump` shows what a mode comes to"));
}

void AddPriority(CLI::App& command, int32_t& priority) {
  command.add_option("--priority", priority, "-100 to 100; larger ones go first on a busy server");
}

absl::StatusOr<std::string> ReadFile(const std::string& flag, const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  return ReadAll(stream, absl::StrCat(flag, " ", file));
}

absl::StatusOr<std::string> ReadPrompt(const PromptFlags& flags) {
  if (!flags.file.empty()) {
    absl::StatusOr<std::string> text = ReadFile("--prompt-file", flags.file);
    if (text.ok() && !flags.text.empty()) absl::StrAppend(&*text, "\n\n", flags.text);
    return text;
  }
  if (!flags.text.empty()) return flags.text;
  absl::StatusOr<std::string> text = ReadAll(std::cin, "standard input");
  if (std::ferror(stdin) != 0) return absl::InvalidArgumentError("cannot read standard input");
  return text;
}

}  // namespace longhaul
