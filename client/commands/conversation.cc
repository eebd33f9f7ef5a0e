#include "client/commands/conversation.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/commands/stream_answer.h"
#include "client/io/output.h"
#include "engine/base/quoted.h"
#include "engine/base/utf8.h"

namespace longhaul {
namespace {

constexpr char kHelp[] =
    "/drop     drop the oldest message and its answer; /drop N the N oldest\n"
    "/retry    send the last message again, if it has no answer\n"
    "Ctrl-C    stop the answer, or drop the line; twice: end the conversation, as Ctrl-D does\n"
    "All else is sent to the model.\n";

// Bytes to which a terminal in line mode silently truncates a longer line.
constexpr size_t kLongestLine = 4095;

// Prints a notice to standard error, apart from the conversation.
template <typename... Words>
void Say(const Words&... words) {
  absl::FPrintF(stderr, "%s\n", absl::StrCat(words...));
}

// Over the reach, the cache, --max-request-tokens or --max-message-size.
bool IsTooLong(const absl::Status& status) {
  return absl::IsInvalidArgument(status) &&
         (absl::StrContains(status.message(), " exceed ") || absl::StrContains(status.message(), "--max-message-size"));
}

}  // namespace

Conversation::Conversation(InterruptibleClient& client, const Common& common, v1::GenerateRequest request,
                           std::optional<std::string> system, bool quiet)
    : client_(client),
      common_(common),
      request_(std::move(request)),
      system_(std::move(system)),
      quiet_(quiet),
      input_(STDIN_FILENO, client.interrupts()) {}

int Conversation::Run() {
  Say("Ctrl-C stops an answer, Ctrl-D ends the conversation, /help says more.");
  bool interrupted = false;
  // Standard output cannot be written any more; the error is reported when the program ends.
  while (std::ferror(stdout) == 0) {
    std::string line;
    const LineReader::Event event = input_.Read("> ", line);
    if (event != LineReader::Event::kLine) std::fprintf(stderr, "\n");
    if (event == LineReader::Event::kEnd) break;
    if (event == LineReader::Event::kInterrupt) {
      if (interrupted) return ExitCode(absl::CancelledError());
      Say("Ctrl-C again ends the conversation.");
      interrupted = true;
      continue;
    }
    interrupted = false;
    if (line.empty() || Obey(line)) continue;
    if (const size_t valid = FirstInvalidUtf8(line); line.size() == kLongestLine) {
      Say("Not sent: a terminal cuts lines off at ", kLongestLine, " bytes; --prompt-file takes a longer text.");
    } else if (valid < line.size()) {
      Say("Not sent: byte ", valid, " of the line is not UTF-8.");
    } else {
      Ask(std::move(line));
    }
  }
  return 0;
}

bool Conversation::Obey(const std::string& line) {
  size_t n = 1;
  if (line == "/help") {
    std::fputs(kHelp, stderr);
  } else if (line == "/drop" || (line.starts_with("/drop ") && absl::SimpleAtoi(line.substr(6), &n))) {
    Drop(n);
  } else if (line == "/retry") {
    if (unanswered_.empty()) {
      Say("No message is without an answer.");
    } else {
      Ask(std::move(unanswered_));
    }
  } else {
    return false;
  }
  return true;
}

void Conversation::Drop(size_t n) {
  n = std::min(n, exchanges_.size());
  for (size_t i = 0; i < n; ++i) Say("Dropped: ", Quoted(exchanges_[i].message));
  exchanges_.erase(exchanges_.begin(), exchanges_.begin() + static_cast<std::ptrdiff_t>(n));
  Say(exchanges_.size(), " left.");
}

void Conversation::Ask(std::string message) {
  v1::Chat& chat = *request_.mutable_prompt()->mutable_chat();
  chat.Clear();
  const auto say = [&](const char* role, const std::string& content) {
    v1::Message& one = *chat.add_messages();
    one.set_role(role);
    one.set_content(content);
  };
  if (system_.has_value()) say("system", *system_);
  for (const Exchange& exchange : exchanges_) {
    say("user", exchange.message);
    say("assistant", exchange.answer);
  }
  say("user", message);
  std::string answer;
  AnswersInOrder printer(request_.samples());
  const absl::Status status = StreamAnswer(*client_, request_, common_, quiet_, printer, &answer);
  if (std::ferror(stdout) != 0) return;
  const bool stopped = absl::IsCancelled(status);
  if (stopped && (common_.json || answer.empty())) std::fprintf(stderr, "\n");  // after the terminal's ^C
  if (!status.ok() && (common_.json || !stopped)) PrintError(status, common_.json);
  if (status.ok() || (stopped && !answer.empty())) {
    unanswered_.clear();
    exchanges_.push_back({std::move(message), std::move(answer)});
    return;
  }
  unanswered_ = std::move(message);
  if (IsTooLong(status)) {
    SayTooLong();
  } else {
    Say("The message has no whole answer; /retry sends it again.");
  }
}

void Conversation::SayTooLong() const {
  if (exchanges_.empty()) {
    Say("There is nothing to drop: the message is too long by itself.");
  } else {
    Say("/drop drops the oldest of ", exchanges_.size(), " messages and its answer, ",
        Quoted(exchanges_.front().message), "; then /retry sends the last one again.");
  }
}

}  // namespace longhaul
