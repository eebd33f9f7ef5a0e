#include "client/commands/evaluate_command.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/evaluation/evaluation.h"
#include "client/io/output.h"
#include "engine/base/command_line/command_line.h"
#include "engine/base/status_macros.h"
#include "proto/position_text.h"

namespace longhaul {
namespace {

struct Flags {
  EvaluationOptions options;
  std::string positions = "none,ntk,ntk-fixed,beta-mixed,yarn,rerope,leaky-rerope,self-extend,linear";
  std::vector<int64_t> documents = {0, 1, 4, 16, 64};
  std::string nbce = "default";
  int64_t seed = 0;
};

// Fills in what the task leaves out, and refuses flags that it does not read.
absl::Status CompleteTask(const CLI::App& command, Flags& flags) {
  EvaluationOptions& o = flags.options;
  o.passkey.seed = o.documents.seed = flags.seed;
  if (o.task == "documents") {
    if (!o.text.empty()) return absl::InvalidArgumentError("--text: --task documents writes its own");
    if (!o.lengths.empty()) return absl::InvalidArgumentError("--lengths: --task documents has --documents");
    o.lengths = flags.documents;
    if (command.count("--positions") == 0) flags.positions = "none,auto";
    LH_ASSIGN_OR_RETURN(o.documents.nbce, ParseNbceSettings(flags.nbce));
    return absl::OkStatus();
  }
  if (o.lengths.empty()) return absl::InvalidArgumentError("--lengths: not given");
  if (o.text.empty() && o.task != "passkey") {
    return absl::InvalidArgumentError(absl::StrCat("--text: not given; --task ", o.task, " reads a text"));
  }
  return absl::OkStatus();
}

absl::Status Complete(const CLI::App& command, Flags& flags) {
  EvaluationOptions& o = flags.options;
  LH_RETURN_IF_ERROR(CompleteTask(command, flags));
  if (!flags.positions.empty()) {
    LH_ASSIGN_OR_RETURN(o.positions, ParsePositions(flags.positions));
  }
  if (o.positions.empty() && o.documents.nbce.empty()) {
    return absl::InvalidArgumentError("--positions: there is none");
  }
  if (o.model.empty() && !o.server_flags.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", o.server_flags[0], "': flags of a server are for one that evaluate starts; give --model"));
  }
  o.command = OwnCommandLine();
  const auto server_words = std::find(o.command.begin(), o.command.end(), "--");
  if (!o.server_flags.empty() &&
      static_cast<std::ptrdiff_t>(o.server_flags.size()) >= std::distance(server_words, o.command.end())) {
    return absl::InvalidArgumentError(absl::StrCat(
        "'", o.server_flags[0], "': no such argument; lists have commas, flags of a server come after --"));
  }
  // $LONGHAUL_TARGET may name a server too; only a --target that was typed conflicts with --model.
  const bool target_typed = std::any_of(o.command.begin(), server_words,
                                        [](const std::string& word) { return word.starts_with("--target"); });
  if (!o.model.empty() && target_typed) {
    return absl::InvalidArgumentError("--target: not allowed with --model, which starts a server of its own");
  }
  if (o.output.empty()) o.output = o.task + ".json";
  const auto beside = [&](const char* extension) {
    return std::filesystem::path(o.output).replace_extension(extension).string();
  };
  o.must_plot = command.count("--plot") > 0;
  if (!o.must_plot) o.plots = {beside(".svg"), beside(".png")};
  for (const std::string& plot : o.plots) {
    const std::string extension = std::filesystem::path(plot).extension();
    if (extension != ".svg" && extension != ".png") {
      return absl::InvalidArgumentError(absl::StrCat("--plot: ", plot, " must end with .svg or .png"));
    }
  }
  if (command.count("--csv") == 0) o.csv = beside(".csv");
  if (o.csv == o.output) return absl::InvalidArgumentError(absl::StrCat("--csv: ", o.csv, " is the --output"));
  return absl::OkStatus();
}

int RunEvaluate(const CLI::App& command, Flags& flags) {
  if (const absl::Status status = Complete(command, flags); !status.ok()) return PrintError(status, /*json=*/false);
  // Outlives everything: the thread that waits for signals never ends.
  static Interrupt& interrupt = *new Interrupt;
  const absl::Status status = Evaluate(flags.options, interrupt);
  return status.ok() ? 0 : PrintError(status, /*json=*/false);
}

}  // namespace

void AddEvaluateCommand(CLI::App& app, int& exit_code) {
  CLI::App* const command = app.add_subcommand(
      "evaluate",
      "Which position mode works on a model and a text: a table, a JSON file, a CSV file and a plot.\n"
      "  longhaul evaluate --text book.txt --lengths 8192,16384,32768 --positions none,ntk,yarn,rerope\n"
      "  longhaul evaluate --model M.gguf --text book.txt --lengths 4096,8192,16384 --output result.json \\\n"
      "    -- --compute-type bf16 --kv-cache-type f16\n"
      "  longhaul evaluate --task passkey --lengths 4096,16384 --positions none,rerope\n"
      "  longhaul evaluate --task documents --documents 0,1,4,16,64 --positions none,auto --nbce default,beta=0\n"
      "Asks the server at --target, or starts one of its own with --model and the server flags after --. Each "
      "request's\n"
      "result is written at once: after Ctrl-C the same command goes on. Runs with the same text, model, types and "
      "task\n"
      "may add modes, lengths and spans to one --output; measure in f32 or bf16 (int8 hides what is measured).\n"
      "tail-loss: the last --score-tokens of N tokens, the same ones at every N. repeated: next-token accuracy on a\n"
      "passage that repeats. passkey: greedy answers to a plain-text question about a five-digit key in N tokens of\n"
      "filler (--text, else the classic sentences); small models fail within their trained length already: look there\n"
      "first. documents: questions over invented documents, one of which holds the answer: all in one chat prompt by\n"
      "position mode (0 documents: the floor, 1: the right one, the ceiling) or each in a row of its own (nbce).");
  const auto flags = std::make_shared<Flags>();
  EvaluationOptions& o = flags->options;
  const CLI::Range tokens(int64_t{2}, int64_t{1} << 30);
  command->add_option("--task", o.task, "tail-loss, repeated, passkey or documents")
      ->check(CLI::IsMember({"tail-loss", "repeated", "passkey", "documents"}))
      ->capture_default_str();
  command->add_option("--text", o.text, "a plain text file, UTF-8");
  command->add_option("--lengths", o.lengths, "tokens to read, as in 8192,16384")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(tokens);
  command
      ->add_option("--positions", flags->positions,
                   "modes, as in none,rerope:window=1024,ntk:factor=4; documents: by default none,auto, '' for none")
      ->type_name(kMayBeEmpty)
      ->capture_default_str();
  command
      ->add_option("--spans", o.spans,
                   "pieces of the text: they end at 1/S, 2/S, ... of it, so that the spans of 1 are among those of 3")
      ->check(CLI::Range(int64_t{1}, int64_t{100000}))
      ->capture_default_str();
  command
      ->add_option("--score-tokens", o.score_tokens,
                   "tail-loss: tokens at the end that are scored; by default half of the shortest length, at most 2048")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30));
  command
      ->add_option(
          "--period", o.period,
          "repeated: tokens of the passage; by default half of the shortest length or of the trained one. Take "
          "it longer than a mode's window, else the near branch alone answers")
      ->check(tokens);
  command->add_option("--depths", o.passkey.depths, "passkey: percent of the filler before the key")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::Range(int64_t{0}, int64_t{100}))
      ->capture_default_str();
  command->add_option("--trials", o.passkey.trials, "passkey: keys for each depth")
      ->check(CLI::Range(int64_t{1}, int64_t{100000}))
      ->capture_default_str();
  command->add_option("--seed", flags->seed, "passkey: of the keys; documents: of the documents")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--documents", flags->documents, "documents: how many are read for a question")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::Range(int64_t{0}, kMaxShelfDocuments))
      ->capture_default_str();
  command->add_option("--questions", o.documents.questions, "documents: each about a document of its own")
      ->check(CLI::Range(int64_t{1}, kMaxShelfDocuments))
      ->capture_default_str();
  command
      ->add_option("--nbce", flags->nbce,
                   "documents: settings of NBCE, each default or parameters joined by ':', as in\n"
                   "default,beta=0,eta=0.3,keep=0.8,pooling=mean,beta=0:keep=1; '' for none")
      ->type_name(kMayBeEmpty)
      ->capture_default_str();
  command
      ->add_option("--trained-length", o.trained_length,
                   "L of every mode, and the length of the control (mode none at L); by default the model's")
      ->check(tokens);

  o.target = "127.0.0.1:50051";
  command->add_option("--target", o.target, "HOST:PORT of a running server")
      ->envname("LONGHAUL_TARGET")
      ->capture_default_str();
  command->add_option("--model", o.model, "start a server on this GGUF file instead; $LONGHAUL_TARGET is then ignored");
  command->add_option("--server", o.server, "its program; by default longhaul-server beside longhaul, else in PATH")
      ->needs("--model");
  command->add_option("server-flags", o.server_flags, "flags of that server, after --")->type_name(kMayBeEmpty);

  command->add_option("--output", o.output,
                      "the result file, which a stopped run goes on from; by default the task's name and .json");
  command->add_option("--csv", o.csv, "by default --output with .csv; '' for none")->type_name(kMayBeEmpty);
  command
      ->add_option("--plot", o.plots,
                   "a picture, .svg or .png (may be given several times); by default --output with both")
      ->type_size(1)
      ->allow_extra_args(false);
  command->add_flag("--quiet", o.quiet, "no progress on standard error");
  command->callback([=, &exit_code] { exit_code = RunEvaluate(*command, *flags); });
}

}  // namespace longhaul
