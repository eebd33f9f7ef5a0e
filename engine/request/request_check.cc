#include "engine/request/request_check.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <limits>
#include <string>
#include <string_view>
#include <unordered_map>

#include "absl/strings/str_cat.h"
#include "engine/base/field_error.h"
#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"

namespace longhaul {
namespace {

constexpr std::array<std::string_view, 3> kRoles = {"system", "user", "assistant"};
constexpr int kMaxTopLogprobs = 20;
constexpr int32_t kMaxTopK = 1 << 30;
constexpr size_t kMaxStops = 16, kMaxStopIds = 64, kMaxBiases = 1024, kMaxMessages = 1024;
constexpr size_t kMaxStopBytes = 1024, kMaxDocumentIdBytes = 1024;
// Far more than any cache holds; sums of a few such numbers do not overflow.
constexpr int64_t kMaxTokens = std::numeric_limits<uint32_t>::max();

// low <= value <= high; NaN is in no range.
template <typename T>
absl::Status CheckRange(std::string_view field, T value, T low, T high, std::string_view allowed) {
  return value >= low && value <= high ? absl::OkStatus() : NotAllowed(field, value, allowed);
}

// 0 < value <= high.
absl::Status CheckAboveZero(std::string_view field, float value, float high, std::string_view allowed) {
  return value > 0 && value <= high ? absl::OkStatus() : NotAllowed(field, value, allowed);
}

absl::Status CheckTokens(std::string_view field, int64_t tokens) {
  return CheckRange<int64_t>(field, tokens, 0, kMaxTokens, "0 to 2^32 - 1");
}

absl::Status CheckTopLogprobs(std::string_view field, int n) {
  return CheckRange(field, n, 0, kMaxTopLogprobs, "0 to 20");
}

absl::Status CheckChat(const std::vector<ChatMessage>& messages) {
  if (messages.empty()) return FieldError("prompt.chat.messages", "the prompt is empty");
  if (messages.size() > kMaxMessages)
    return NotAllowed("prompt.chat.messages", messages.size(), "at most 1024 messages");
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string& role = messages[i].role;
    if (std::find(kRoles.begin(), kRoles.end(), role) == kRoles.end()) {
      return FieldError(absl::StrCat("prompt.chat.messages[", i, "].role"),
                        absl::StrCat(Quoted(role), " is not one of system, user, assistant"));
    }
  }
  return absl::OkStatus();
}

// A prompt that must be text or token ids.
absl::Status CheckPlain(std::string_view field, const Prompt& prompt) {
  const auto* text = std::get_if<TextPrompt>(&prompt);
  const auto* ids = std::get_if<TokenPrompt>(&prompt);
  if ((text != nullptr && !text->text.empty()) || (ids != nullptr && !ids->ids.empty())) return absl::OkStatus();
  return FieldError(field, "not given or empty; it must be text or token_ids");
}

// The prompt beside contexts.
absl::Status CheckQuestion(const Prompt& prompt, const Contexts& contexts) {
  LH_RETURN_IF_ERROR(CheckPrompt(prompt));
  const auto* chat = std::get_if<ChatPrompt>(&prompt);
  if (chat == nullptr) return absl::OkStatus();
  const std::vector<ChatMessage>& messages = chat->messages;
  const bool system = messages.front().role == "system";
  if (messages.back().role != "user" || messages.size() != (system ? 2u : 1u)) {
    return FieldError("prompt.chat.messages",
                      "with contexts there must be exactly one user message, and before it at most one system message");
  }
  if (system && !contexts.document_template.empty()) {
    return FieldError("prompt.chat.messages[0]",
                      "with contexts.document_template the template itself holds the system message");
  }
  return absl::OkStatus();
}

absl::Status CheckDocuments(const std::vector<Document>& documents) {
  if (documents.empty()) return FieldError("contexts.documents", "there are none");
  std::unordered_map<std::string, size_t> seen;
  for (size_t i = 0; i < documents.size(); ++i) {
    const std::string id = IdOf(documents[i], i);
    const std::string field = absl::StrCat("contexts.documents[", i, "]");
    if (std::visit([](const auto& content) { return content.empty(); }, documents[i].content)) {
      return FieldError(field, absl::StrCat(Quoted(id), " is empty"));
    }
    if (id.size() > kMaxDocumentIdBytes) {
      return FieldError(field + ".id",
                        absl::StrCat(id.size(), " bytes are more than the ", kMaxDocumentIdBytes, " that are allowed"));
    }
    const auto [first, is_new] = seen.emplace(id, i);
    if (is_new) continue;
    return FieldError(field + ".id", absl::StrCat(Quoted(id), " is the id of document ", first->second, ", too"));
  }
  return absl::OkStatus();
}

absl::Status CheckLongDocument(const LongDocument& document) {
  if (document.text.empty()) return FieldError("contexts.long_document.text", "the text is empty");
  LH_RETURN_IF_ERROR(CheckTokens("contexts.long_document.window_tokens", document.window_tokens));
  if (!document.overlap_tokens.has_value()) return absl::OkStatus();
  LH_RETURN_IF_ERROR(CheckTokens("contexts.long_document.overlap_tokens", *document.overlap_tokens));
  if (document.window_tokens == 0 || *document.overlap_tokens < document.window_tokens) return absl::OkStatus();
  return NotAllowed("contexts.long_document.overlap_tokens", *document.overlap_tokens,
                    absl::StrCat("less than window_tokens, ", document.window_tokens));
}

absl::Status CheckContexts(const Contexts& contexts) {
  LH_RETURN_IF_ERROR(CheckRange("contexts.nbce.beta", contexts.nbce.beta, -1.0f, 100.0f, "-1 to 100"));
  LH_RETURN_IF_ERROR(CheckRange("contexts.nbce.eta", contexts.nbce.eta, 0.0f, 100.0f, "0 to 100"));
  LH_RETURN_IF_ERROR(CheckAboveZero("contexts.nbce.top_p", contexts.nbce.top_p, 1, "above 0 and at most 1"));
  if (contexts.baseline.has_value()) LH_RETURN_IF_ERROR(CheckPlain("contexts.baseline", *contexts.baseline));
  if (const auto* documents = std::get_if<std::vector<Document>>(&contexts.source)) return CheckDocuments(*documents);
  return CheckLongDocument(std::get<LongDocument>(contexts.source));
}

absl::Status CheckLogitBias(const std::vector<std::pair<TokenId, float>>& biases) {
  constexpr const char kField[] = "sampling.logit_bias";
  if (biases.size() > kMaxBiases) return NotAllowed(kField, biases.size(), "at most 1024 entries");
  for (size_t i = 0; i < biases.size(); ++i) {
    LH_RETURN_IF_ERROR(CheckRange(kField, biases[i].second, -1000.0f, 1000.0f, "-1000 to 1000 for each token"));
    if (i == 0 || biases[i - 1].first < biases[i].first) continue;
    return FieldError(kField, absl::StrCat("token id ", biases[i].first, " stands behind ", biases[i - 1].first,
                                           "; the ids must be ascending and distinct"));
  }
  return absl::OkStatus();
}

absl::Status CheckSampling(const SamplingParams& s) {
  LH_RETURN_IF_ERROR(CheckRange("sampling.temperature", s.temperature, 0.0f, 100.0f, "0 to 100"));
  LH_RETURN_IF_ERROR(CheckRange("sampling.top_k", s.top_k, 0, kMaxTopK, "at most 2^30; 0 keeps all"));
  LH_RETURN_IF_ERROR(CheckAboveZero("sampling.top_p", s.top_p, 1, "above 0 and at most 1"));
  LH_RETURN_IF_ERROR(CheckRange("sampling.min_p", s.min_p, 0.0f, 1.0f, "0 to 1"));
  LH_RETURN_IF_ERROR(
      CheckAboveZero("sampling.repetition_penalty", s.repetition_penalty, 100, "above 0 and at most 100"));
  LH_RETURN_IF_ERROR(CheckRange("sampling.presence_penalty", s.presence_penalty, -100.0f, 100.0f, "-100 to 100"));
  LH_RETURN_IF_ERROR(CheckRange("sampling.frequency_penalty", s.frequency_penalty, -100.0f, 100.0f, "-100 to 100"));
  return CheckLogitBias(s.logit_bias);
}

absl::Status CheckStopping(const StoppingParams& s) {
  if (s.stop.size() > kMaxStops) return NotAllowed("stopping.stop", s.stop.size(), "at most 16 texts");
  for (const std::string& stop : s.stop) {
    if (stop.empty() || stop.size() > kMaxStopBytes) {
      return NotAllowed("stopping.stop", stop.size(), "texts of 1 to 1024 bytes");
    }
  }
  if (s.stop_token_ids.size() > kMaxStopIds) {
    return NotAllowed("stopping.stop_token_ids", s.stop_token_ids.size(), "at most 64 ids");
  }
  LH_RETURN_IF_ERROR(CheckTokens("stopping.min_tokens", s.min_tokens));
  if (!s.max_tokens.has_value()) return absl::OkStatus();
  LH_RETURN_IF_ERROR(CheckTokens("stopping.max_tokens", *s.max_tokens));
  if (s.min_tokens <= *s.max_tokens) return absl::OkStatus();
  return FieldError("stopping.min_tokens",
                    absl::StrCat(s.min_tokens, " is more than stopping.max_tokens, ", *s.max_tokens));
}

template <typename Params>
absl::Status CheckTexts(const Params& params) {
  if (!params.contexts.has_value()) return CheckPrompt(params.prompt);
  LH_RETURN_IF_ERROR(CheckQuestion(params.prompt, *params.contexts));
  return CheckContexts(*params.contexts);
}

absl::Status CheckParams(const GenerateParams& params) {
  LH_RETURN_IF_ERROR(CheckTexts(params));
  LH_RETURN_IF_ERROR(CheckSampling(params.sampling));
  LH_RETURN_IF_ERROR(CheckStopping(params.stopping));
  LH_RETURN_IF_ERROR(CheckTopLogprobs("output.top_logprobs", params.output.logprobs.value_or(0)));
  return CheckRange<int64_t>("samples", params.samples, 1, std::numeric_limits<uint32_t>::max(), "1 to 2^32 - 1");
}

absl::Status CheckParams(const ScoreParams& params) {
  LH_RETURN_IF_ERROR(CheckTexts(params));
  if (params.contexts.has_value()) {
    const Prompt none;
    LH_RETURN_IF_ERROR(CheckPlain("answer", params.answer.has_value() ? *params.answer : none));
  } else if (params.answer.has_value()) {
    return FieldError("answer", "without contexts there is none; the text to score is the prompt");
  }
  if (params.from_token < 0) return NotAllowed("from_token", params.from_token, "at least 0");
  if (params.last_tokens < 0) return NotAllowed("last_tokens", params.last_tokens, "at least 1");
  return CheckTopLogprobs("top_logprobs", params.top_logprobs);
}

}  // namespace

absl::Status CheckPrompt(const Prompt& prompt) {
  if (const auto* chat = std::get_if<ChatPrompt>(&prompt)) return CheckChat(chat->messages);
  if (const auto* text = std::get_if<TextPrompt>(&prompt)) {
    return text->text.empty() ? FieldError("prompt.text", "the prompt is empty") : absl::OkStatus();
  }
  const bool empty = std::get<TokenPrompt>(prompt).ids.empty();
  return empty ? FieldError("prompt.token_ids", "the prompt is empty") : absl::OkStatus();
}

absl::Status CheckRequest(const Request& request) {
  LH_RETURN_IF_ERROR(CheckRange("priority", request.priority, -100, 100, "-100 to 100"));
  return std::visit([](const auto& params) { return CheckParams(params); }, request.params);
}

}  // namespace longhaul
