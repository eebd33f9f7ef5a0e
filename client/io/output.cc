#include "client/io/output.h"

#include <cerrno>  // program_invocation_short_name
#include <cstdio>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "client/io/message_json.h"
#include "client/io/plan_output.h"
#include "engine/base/terminal.h"

namespace longhaul {
namespace {

using Json = nlohmann::ordered_json;

void PrintRaw(FILE* stream, std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stream);
}

// On a line of its own, at once: who reads it may wait for it.
void PrintLine(const Json& json) {
  const std::string line = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  // On a terminal what JSON does not escape by itself (DEL, C1) is JSON's escape too.
  PrintRaw(stdout, ForTerminal(stdout, absl::StrReplaceAll(line, {{"\x7f", "\\u007f"}})) + "\n");
  std::fflush(stdout);
}

const char* ReasonName(v1::FinishReason reason) {
  switch (reason) {
    case v1::FINISH_REASON_STOP:
      return "stop";
    case v1::FINISH_REASON_LENGTH:
      return "length";
    case v1::FINISH_REASON_EOS:
      return "end of sequence";
    case v1::FINISH_REASON_CANCELLED:
      return "cancelled";
    case v1::FINISH_REASON_DEADLINE:
      return "deadline";
    case v1::FINISH_REASON_STALLED:
      return "stalled";
    case v1::FINISH_REASON_ERROR:
      return "error";
    case v1::FINISH_REASON_UNAVAILABLE:
      return "unavailable";
    default:
      return "unknown";
  }
}

}  // namespace

int ExitCode(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kInvalidArgument:
      return 2;
    case absl::StatusCode::kFailedPrecondition:
      return 3;
    case absl::StatusCode::kUnavailable:
      return 4;
    case absl::StatusCode::kResourceExhausted:
      return 5;
    case absl::StatusCode::kDeadlineExceeded:
      return 6;
    case absl::StatusCode::kCancelled:
      return 130;
    default:
      return 1;
  }
}

int PrintError(const absl::Status& status, bool json) {
  if (std::ferror(stdout) != 0) return ExitCode(absl::InternalError(""));
  const std::string message(status.message());
  if (json) {
    PrintLine({{"error", {{"code", absl::StatusCodeToString(status.code())}, {"message", message}}}});
  } else {
    absl::FPrintF(stderr, "%s: %s\n", program_invocation_short_name, TextForTerminal(stderr, message));
  }
  return ExitCode(status);
}

void PrintJson(const google::protobuf::Message& message) {
  PrintLine(MessageJson(message));
}

void PrintText(std::string_view text) {
  PrintRaw(stdout, TextForTerminal(stdout, text));
}

void PrintModel(const v1::GetModelResponse& m) {
  const auto t = [](const std::string& text) { return ForTerminal(stdout, text); };
  absl::PrintF("model           %s (%s, %s, %.1f M parameters)\n", t(m.name()), t(m.architecture()), t(m.file_type()),
               static_cast<double>(m.parameters()) / 1e6);
  absl::PrintF("trained length  %d tokens\n", m.trained_length());
  absl::PrintF("shape           %d layers, width %d, %d heads of %d, %d kv heads, vocabulary %d\n", m.layers(),
               m.width(), m.heads(), m.head_dim(), m.kv_heads(), m.vocabulary_size());
  absl::PrintF("text            pre-tokenizer %s, chat template %s\n", t(m.pre_tokenizer()),
               m.chat_template().empty() ? "unknown" : t(m.chat_template()));
  absl::PrintF("runs on         %s, %s, %d threads; products %s, KV cache %s\n", t(m.backend()), t(m.instruction_set()),
               m.threads(), t(m.compute_type()), t(m.kv_cache_type()));
  absl::PrintF("KV cache        %d of %d tokens in use\n", m.cache_tokens_used(), m.cache_tokens());
  absl::PrintF("requests        %d running, %d waiting\n", m.running(), m.waiting());
  absl::PrintF("version         %s\n", t(m.version()));
  absl::PrintF("fingerprint     %s\n", t(m.engine_fingerprint()));
}

void PrintSummary(const v1::Started& started, const v1::Finished& finished) {
  const auto n = [](uint64_t number) { return static_cast<unsigned long long>(number); };
  const v1::Usage& usage = finished.usage();
  const v1::Timings& timings = finished.timings();
  const auto rate = [](uint64_t tokens, double seconds) {
    return seconds > 0 ? static_cast<double>(tokens) / seconds : 0.0;
  };
  // The first token comes with the prompt; the others take the decode time.
  const uint64_t decoded = usage.completion_tokens() > 0 ? usage.completion_tokens() - 1 : 0;
  std::fprintf(stderr, "[%llu prompt tokens at %.0f/s, %llu tokens at %.1f/s, first after %.3f s; %s]\n",
               n(usage.prompt_tokens()), rate(usage.prompt_tokens(), timings.prefill()), n(usage.completion_tokens()),
               rate(decoded, timings.decode()), timings.first_token(), ReasonName(finished.reason()));
  PrintPositions(started);
}

void AnswersInOrder::PrintWaiting() {
  if (!has_begun_ && answers_.size() > 1) {
    std::printf("%s[%zu of %zu]\n", current_ > 0 ? "\n" : "", current_ + 1, answers_.size());
    has_printed_ = true;
  }
  has_begun_ = true;
  std::string& text = answers_[current_].waiting;
  has_printed_ = has_printed_ || !text.empty();
  PrintText(text);
  text.clear();
}

void AnswersInOrder::Print(const v1::Chunk& chunk) {
  if (chunk.sample() >= answers_.size()) return;
  Answer& answer = answers_[chunk.sample()];
  answer.waiting += chunk.text();
  answer.ended = chunk.finish_reason() != v1::FINISH_REASON_UNSPECIFIED;
  if (chunk.sample() != current_) return;
  PrintWaiting();
  while (current_ + 1 < answers_.size() && answers_[current_].ended) {
    std::printf("\n");
    ++current_;
    has_begun_ = false;
    PrintWaiting();
  }
  std::fflush(stdout);
}

void AnswersInOrder::End(bool whole) {
  for (; whole && current_ + 1 < answers_.size(); ++current_) {
    PrintWaiting();
    std::printf("\n");
    has_begun_ = false;
  }
  if (whole) PrintWaiting();
  if (whole || has_printed_) std::printf("\n");
  std::fflush(stdout);
}

void PrintWarmed(const v1::Finished& finished) {
  const auto n = [](uint64_t number) { return static_cast<unsigned long long>(number); };
  std::printf("%llu tokens read, %llu of them from the cache, in %.3f s\n", n(finished.usage().prompt_tokens()),
              n(finished.usage().cached_tokens()), finished.timings().prefill());
}

ReadingLine::ReadingLine(bool enabled) : enabled_(enabled && CanRewriteLine(stderr)) {}

void ReadingLine::Show(const v1::Progress& progress) {
  if (!enabled_) return;
  std::fprintf(stderr, "\rreading: %llu of %llu tokens", static_cast<unsigned long long>(progress.prefilled_tokens()),
               static_cast<unsigned long long>(progress.total_tokens()));
  shown_ = true;
}

void ReadingLine::Clear() {
  if (shown_) std::fprintf(stderr, "\r\033[K");
  shown_ = false;
}

std::string QuotePiece(std::string_view bytes) {
  return ForTerminal(stdout, Json(bytes).dump(-1, ' ', false, Json::error_handler_t::replace));
}

}  // namespace longhaul
