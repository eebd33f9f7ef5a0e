#include "client/output.h"

#include <google/protobuf/util/json_util.h>
#include <unistd.h>

#include <cerrno>  // program_invocation_short_name
#include <cstdio>
#include <nlohmann/json.hpp>

#include "client/plan_output.h"

namespace longhaul {
namespace {

// The messages' own JSON form: field names as in the .proto, one line.
void PrintMessage(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string line;
  if (!google::protobuf::util::MessageToJsonString(message, &line, options).ok()) return;
  std::printf("%s\n", line.c_str());
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
  const std::string message(status.message());
  if (json) {
    const nlohmann::json error = {{"error", {{"code", absl::StatusCodeToString(status.code())}, {"message", message}}}};
    std::printf("%s\n", error.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  } else {
    std::fprintf(stderr, "%s: %s\n", program_invocation_short_name, message.c_str());
  }
  return ExitCode(status);
}

void PrintJson(const v1::GenerateResponse& response) {
  PrintMessage(response);
}
void PrintJson(const v1::ScoreResponse& response) {
  PrintMessage(response);
}
void PrintJson(const v1::TokenizeResponse& response) {
  PrintMessage(response);
}
void PrintJson(const v1::DetokenizeResponse& response) {
  PrintMessage(response);
}
void PrintJson(const v1::GetModelResponse& response) {
  PrintMessage(response);
}

void PrintJson(const v1::ListRequestsResponse& response) {
  PrintMessage(response);
}
void PrintJson(const v1::CancelRequestResponse& response) {
  PrintMessage(response);
}

void PrintModel(const v1::GetModelResponse& m) {
  const auto n = [](uint64_t number) { return static_cast<unsigned long long>(number); };
  std::printf("model           %s (%s, %s, %.1f M parameters)\n", m.name().c_str(), m.architecture().c_str(),
              m.file_type().c_str(), static_cast<double>(m.parameters()) / 1e6);
  std::printf("trained length  %llu tokens\n", n(m.trained_length()));
  std::printf("shape           %llu layers, width %llu, %llu heads of %llu, %llu kv heads, vocabulary %llu\n",
              n(m.layers()), n(m.width()), n(m.heads()), n(m.head_dim()), n(m.kv_heads()), n(m.vocabulary_size()));
  std::printf("text            pre-tokenizer %s, chat template %s\n", m.pre_tokenizer().c_str(),
              m.chat_template().empty() ? "unknown" : m.chat_template().c_str());
  std::printf("runs on         %s, %s, %u threads; products %s, KV cache %s\n", m.backend().c_str(),
              m.instruction_set().c_str(), m.threads(), m.compute_type().c_str(), m.kv_cache_type().c_str());
  std::printf("KV cache        %llu of %llu tokens in use\n", n(m.cache_tokens_used()), n(m.cache_tokens()));
  std::printf("requests        %u running, %u waiting\n", m.running(), m.waiting());
  std::printf("version         %s\n", m.version().c_str());
  std::printf("fingerprint     %s\n", m.engine_fingerprint().c_str());
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

void AnswersInOrder::PrintHeading() const {
  if (answers_.size() > 1) std::printf("%s[%zu of %zu]\n", current_ > 0 ? "\n" : "", current_ + 1, answers_.size());
}

void AnswersInOrder::PrintWaiting() {
  if (!has_begun_) PrintHeading();
  has_begun_ = true;
  std::string& text = answers_[current_].waiting;
  std::fwrite(text.data(), 1, text.size(), stdout);
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
  std::printf("\n");
  std::fflush(stdout);
}

void PrintWarmed(const v1::Finished& finished) {
  const auto n = [](uint64_t number) { return static_cast<unsigned long long>(number); };
  std::printf("%llu tokens read, %llu of them from the cache, in %.3f s\n", n(finished.usage().prompt_tokens()),
              n(finished.usage().cached_tokens()), finished.timings().prefill());
}

ReadingLine::ReadingLine(bool enabled) : enabled_(enabled && isatty(STDERR_FILENO) != 0) {}

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
  return nlohmann::json(bytes).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace longhaul
