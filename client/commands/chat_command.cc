#include "client/commands/chat_command.h"

#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "client/commands/conversation.h"
#include "client/commands/generate_flags.h"
#include "client/commands/interruptible_client.h"
#include "client/commands/stream_answer.h"
#include "client/io/output.h"
#include "client/io/text_input.h"
#include "engine/base/command_line/command_line.h"

namespace longhaul {
namespace {

// One turn with a prompt; without one, on a terminal, a conversation until the end of the input.
int Chat(const CLI::App& command, const Common& common, const GenerateFlags& flags) {
  v1::GenerateRequest request;
  if (absl::Status status = FillRequest(command, flags, request); !status.ok()) return PrintError(status, common.json);
  const std::optional<std::string> system = command.count("--system") > 0 ? std::optional(flags.system) : std::nullopt;
  if (absl::Status status = CheckText("--system", system.value_or("")); !status.ok()) {
    return PrintError(status, common.json);
  }
  if (!flags.prompt.given() && isatty(STDIN_FILENO) != 0) {
    if (flags.samples > 1) {
      return PrintError(absl::InvalidArgumentError("--samples: a conversation has one answer a turn"), common.json);
    }
    InterruptibleClient client(common.target);
    return Conversation(client, common, std::move(request), system, flags.quiet).Run();
  }
  auto prompt = ReadPrompt(flags.prompt);
  if (!prompt.ok()) return PrintError(prompt.status(), common.json);
  const auto say = [&](const char* role, const std::string& content) {
    v1::Message& message = *request.mutable_prompt()->mutable_chat()->add_messages();
    message.set_role(role);
    message.set_content(content);
  };
  if (system.has_value()) say("system", *system);
  say("user", *prompt);
  InterruptibleClient client(common.target);
  AnswersInOrder answers(request.samples());
  const absl::Status status = StreamAnswer(*client, request, common, flags.quiet, answers);
  return status.ok() ? 0 : PrintError(status, common.json);
}

}  // namespace

void AddChatCommand(CLI::App& app, int& exit_code) {
  const auto common = std::make_shared<Common>();
  CLI::App* const command =
      app.add_subcommand("chat",
                         "Talk with the model.\n"
                         "  longhaul chat \"Why is the sky blue?\"\n"
                         "  longhaul chat --system \"Answer in French.\"    (a conversation; /help there)\n"
                         "  longhaul chat --position yarn:factor=2 --prompt-file book.txt \"Who is the "
                         "author?\"");
  AddConnection(*command, *common);
  AddRequestId(*command, *common);
  const auto flags = std::make_shared<GenerateFlags>();
  AddPrompt(*command, flags->prompt);
  AddSystem(*command, flags->system);
  AddGenerateFlags(*command, *flags);
  command->callback([=, c = command, s = common, &exit_code] { exit_code = Chat(*c, *s, *flags); });
}

}  // namespace longhaul
