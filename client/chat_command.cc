#include "client/chat_command.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>

#include "client/generate_flags.h"
#include "client/interruptible_client.h"
#include "client/output.h"
#include "client/stream_answer.h"

namespace longhaul {
namespace {

// One turn with a prompt; without one, on a terminal, a conversation until the end of the input.
int Chat(const CLI::App& command, const Common& common, const GenerateFlags& flags) {
  v1::GenerateRequest request;
  if (absl::Status status = FillRequest(command, flags, request); !status.ok()) return PrintError(status, common.json);
  v1::Chat& chat = *request.mutable_prompt()->mutable_chat();
  const auto say = [&](const char* role, const std::string& content) {
    v1::Message& message = *chat.add_messages();
    message.set_role(role);
    message.set_content(content);
  };
  if (command.count("--system") > 0) say("system", flags.system);
  InterruptibleClient client(common.target);
  const bool conversation = !flags.prompt.given() && isatty(STDIN_FILENO) != 0;
  if (!conversation) {
    auto prompt = ReadPrompt(flags.prompt);
    if (!prompt.ok()) return PrintError(prompt.status(), common.json);
    say("user", *prompt);
    const absl::Status status = StreamAnswer(*client, request, common, flags.quiet, nullptr);
    return status.ok() ? 0 : PrintError(status, common.json);
  }
  if (flags.samples > 1) {
    return PrintError(absl::InvalidArgumentError("--samples: a conversation has one answer a turn"), common.json);
  }
  std::fprintf(stderr, "Ctrl-C stops an answer, Ctrl-D ends the conversation.\n");
  for (std::string line; std::fprintf(stderr, "> "), std::getline(std::cin, line);) {
    if (line.empty()) continue;
    say("user", line);
    std::string answer;
    const absl::Status status = StreamAnswer(*client, request, common, flags.quiet, &answer);
    if (!status.ok() && status.code() != absl::StatusCode::kCancelled) return PrintError(status, common.json);
    say("assistant", answer);
  }
  std::fprintf(stderr, "\n");
  return 0;
}

}  // namespace

void AddChatCommand(CLI::App& app, int& exit_code) {
  const auto common = std::make_shared<Common>();
  CLI::App* const command =
      app.add_subcommand("chat",
                         "Talk with the model.\n"
                         "  longhaul chat \"Why is the sky blue?\"\n"
                         "  longhaul chat --system \"Answer in French.\"    (a conversation)\n"
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
