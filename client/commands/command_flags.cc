#include "client/commands/command_flags.h"

#include <algorithm>

#include "client/io/text_input.h"
#include "engine/base/command_line/command_line.h"
#include "engine/base/printable.h"
#include "engine/base/status_macros.h"

namespace longhaul {
namespace {

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

std::optional<std::string> PromptFlags::given_text() const {
  return text_option != nullptr && text_option->count() > 0 ? std::optional(text) : std::nullopt;
}

void AddPrompt(CLI::App& command, PromptFlags& flags) {
  flags.text_option =
      command.add_option("prompt", flags.text, "the text; without it (and without a file) standard input is read")
          ->type_name(kMayBeEmpty);
  AddPromptFile(command, flags.file);
}

void AddPromptFile(CLI::App& command, PromptFile& file) {
  command.add_option("--prompt-file", file.path,
                     "read the text from a file, or with - from standard input; a text given too follows it");
  command.add_flag("--keep-newline", file.keep_newline,
                   "keep the line break at the end of a file or of standard input");
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

absl::StatusOr<std::string> ReadPrompt(const std::optional<std::string>& text, const PromptFile& file) {
  if (text.has_value()) {
    LH_RETURN_IF_ERROR(CheckText("the prompt", *text));
    if (text->empty()) return absl::InvalidArgumentError("the prompt is given and empty");
    if (file.path.empty()) return *text;
  }
  const std::string path = file.path.empty() ? "-" : file.path;
  LH_ASSIGN_OR_RETURN(std::string read, ReadText("--prompt-file", path));
  if (!file.keep_newline) DropFinalNewline(read);
  if (read.empty()) {
    return absl::InvalidArgumentError(path == "-"
                                          ? "the prompt is empty: standard input holds nothing"
                                          : absl::StrCat("the prompt is empty: --prompt-file ", Printable(path)));
  }
  return text.has_value() ? absl::StrCat(read, "\n\n", *text) : read;
}

absl::StatusOr<std::string> ReadPrompt(const PromptFlags& flags) {
  return ReadPrompt(flags.given_text(), flags.file);
}

}  // namespace longhaul
