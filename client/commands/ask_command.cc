#include "client/commands/ask_command.h"

#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/commands/context_flags.h"
#include "client/commands/generate_flags.h"
#include "client/commands/interruptible_client.h"
#include "client/commands/stream_answer.h"
#include "client/io/citation_output.h"
#include "client/io/output.h"
#include "client/io/text_input.h"
#include "engine/base/status_macros.h"

namespace longhaul {
namespace {

struct AskFlags {
  GenerateFlags generate;
  std::string question;
  ContextFlags contexts;
  float beta = 0, eta = 0, keep = 0;
  std::string pooling;
};

const std::map<std::string, v1::Pooling> kPoolings = {
    {"min-entropy", v1::POOLING_MIN_ENTROPY}, {"mean", v1::POOLING_MEAN}, {"max", v1::POOLING_MAX}};

absl::Status FillAsk(const CLI::App& command, AskFlags& flags, v1::GenerateRequest& request) {
  LH_RETURN_IF_ERROR(FillRequest(command, flags.generate, request));
  if (flags.generate.samples > 1) return absl::InvalidArgumentError("--samples: a question has one answer here");
  const PromptFile& file = flags.generate.prompt.file;
  const bool apart = command.count("--question") > 0;
  LH_ASSIGN_OR_RETURN(std::optional<std::string> given, TakeQuestion(flags.contexts, apart || !file.path.empty()));
  if (apart) given = flags.question;
  if (flags.contexts.documents.empty() && flags.contexts.long_document.empty()) {
    return absl::InvalidArgumentError("no documents: give --documents FILE... or --long-document FILE");
  }
  LH_RETURN_IF_ERROR(FillContexts(flags.contexts, request));
  v1::Nbce& nbce = *request.mutable_contexts()->mutable_nbce();
  if (command.count("--beta") > 0) nbce.set_beta(flags.beta);
  if (command.count("--eta") > 0) nbce.set_eta(flags.eta);
  if (command.count("--keep") > 0) nbce.set_top_p(flags.keep);
  if (!flags.pooling.empty()) nbce.set_pooling(kPoolings.at(flags.pooling));
  LH_ASSIGN_OR_RETURN(std::string question, ReadPrompt(given, file));
  if (command.count("--system") == 0) {
    request.mutable_prompt()->set_text(std::move(question));
    return absl::OkStatus();
  }
  LH_RETURN_IF_ERROR(CheckText("--system", flags.generate.system));
  for (const auto& [role, content] : {std::pair("system", &flags.generate.system), std::pair("user", &question)}) {
    v1::Message& message = *request.mutable_prompt()->mutable_chat()->add_messages();
    message.set_role(role);
    message.set_content(*content);
  }
  return absl::OkStatus();
}

int Ask(const CLI::App& command, const Common& common, AskFlags& flags) {
  v1::GenerateRequest request;
  if (absl::Status status = FillAsk(command, flags, request); !status.ok()) return PrintError(status, common.json);
  InterruptibleClient client(common.target);
  CitedAnswer answer(request);
  const absl::Status status = StreamAnswer(*client, request, common, flags.generate.quiet, answer);
  return status.ok() ? 0 : PrintError(status, common.json);
}

}  // namespace

void AddAskCommand(CLI::App& app, int& exit_code) {
  const auto common = std::make_shared<Common>();
  CLI::App* const command = app.add_subcommand(
      "ask",
      "Answer a question from documents, each read side by side, and say which ones the answer comes from.\n"
      "  longhaul ask --documents notes/*.txt \"When was the bridge opened, and who paid for it?\"\n"
      "  longhaul ask --long-document book.txt --window 2048 --overlap 256 \"Who is Mr. Collins?\"\n"
      "`longhaul warm --documents notes/*.txt` reads them before the first question.");
  AddConnection(*command, *common);
  AddRequestId(*command, *common);
  const auto flags = std::make_shared<AskFlags>();
  AddContexts(*command, flags->contexts);
  command->add_option("--question", flags->question, "the question; all words are files then");
  AddPromptFile(*command, flags->generate.prompt.file);
  AddSystem(*command, flags->generate.system);
  command->add_option("--beta", flags->beta,
                      "how far to go from what the model says without a document; -1 to 100, by default 0.25");
  command->add_option("--eta", flags->eta,
                      "nats by which another document must be surer before the choice leaves the last; by default 0.1");
  command->add_option("--keep", flags->keep, "how much of each row's distribution is kept; by default 0.95");
  command->add_option("--pooling", flags->pooling, "min-entropy, mean or max")->check(CLI::IsMember(kPoolings));
  AddGenerateFlags(*command, flags->generate);
  command->callback([=, c = command, s = common, &exit_code] { exit_code = Ask(*c, *s, *flags); });
}

}  // namespace longhaul
