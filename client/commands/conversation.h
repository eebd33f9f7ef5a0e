#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "client/commands/command_flags.h"
#include "client/commands/interruptible_client.h"
#include "client/commands/line_reader.h"
#include "longhaul/v1/inference.pb.h"

namespace longhaul {

// `longhaul chat` on a terminal: reads messages from standard input and answers them, until the end of the input. What
// ends one answer (a deadline, a full queue, a server that restarts, a prompt that is too long) does not end the
// conversation.
class Conversation {
 public:
  // `request` is every turn's, but for its prompt: that is `system`, if any, and what was said.
  Conversation(InterruptibleClient& client, const Common& common, v1::GenerateRequest request,
               std::optional<std::string> system, bool quiet);

  // The exit code.
  int Run();

 private:
  struct Exchange {
    std::string message, answer;
  };
  // A line that may be a command. False if it is none.
  bool Obey(const std::string& line);
  void Drop(size_t n);
  void Ask(std::string message);
  void SayTooLong() const;

  InterruptibleClient& client_;
  const Common& common_;
  v1::GenerateRequest request_;
  const std::optional<std::string> system_;
  const bool quiet_;
  LineReader input_;
  std::vector<Exchange> exchanges_;
  std::string unanswered_;  // the last message, if nothing answered it
};

}  // namespace longhaul
