#pragma once

#include <string>

namespace longhaul {

// Lines as a user types them, until Ctrl-C or the end of the input.
class LineReader {
 public:
  enum class Event { kLine, kInterrupt, kEnd };

  // Reads the descriptor `input`; `interrupts` is InterruptibleClient::interrupts().
  LineReader(int input, int interrupts) : input_(input), interrupts_(interrupts) {}

  // Prints `prompt` on standard error and waits for the next line, which comes without its line break. An interrupt
  // drops what was typed before it; one before the prompt is not returned.
  Event Read(const char* prompt, std::string& line);

 private:
  bool TakeInterrupt() const;

  const int input_, interrupts_;
  std::string unread_;
};

}  // namespace longhaul
