#include "server/grpc/request_validation.h"

#include <cmath>
#include <string>
#include <unordered_set>

#include "absl/strings/str_cat.h"
#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"

namespace longhaul {
namespace {

constexpr uint32_t kMaxTopLogprobs = 20, kMaxTopK = 1u << 30;
constexpr int kMaxStops = 16, kMaxStopIds = 64, kMaxBiases = 1024, kMaxMessages = 1024;
constexpr size_t kMaxStopBytes = 1024, kMaxDocumentIdBytes = 1024;

absl::Status Refuse(const char* field, double value, const char* allowed) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", value, " is not allowed; it must be ", allowed));
}

// NaN is in no range.
absl::Status CheckRange(const char* field, double value, double low, double high, const char* allowed) {
  return value >= low && value <= high ? absl::OkStatus() : Refuse(field, value, allowed);
}

absl::Status CheckChat(const v1::Chat& chat) {
  if (chat.messages().empty()) return absl::InvalidArgumentError("prompt.chat.messages: the prompt is empty");
  if (chat.messages_size() > kMaxMessages) {
    return Refuse("prompt.chat.messages", chat.messages_size(), "at most 1024 messages");
  }
  for (int i = 0; i < chat.messages_size(); ++i) {
    const std::string& role = chat.messages(i).role();
    if (role != "system" && role != "user" && role != "assistant") {
      return absl::InvalidArgumentError(
          absl::StrCat("prompt.chat.messages[", i, "].role: ", Quoted(role), " is not one of system, user, assistant"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckPrompt(const v1::Prompt& prompt) {
  switch (prompt.kind_case()) {
    case v1::Prompt::kText:
      if (prompt.text().empty()) return absl::InvalidArgumentError("prompt.text: the prompt is empty");
      return absl::OkStatus();
    case v1::Prompt::kTokenIds:
      if (prompt.token_ids().ids().empty()) return absl::InvalidArgumentError("prompt.token_ids: the prompt is empty");
      return absl::OkStatus();
    case v1::Prompt::kChat:
      return CheckChat(prompt.chat());
    case v1::Prompt::KIND_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("prompt: not given; one of text, token_ids, chat is needed");
}

// A prompt that must be text or token ids.
absl::Status CheckPlain(const char* field, const v1::Prompt& prompt) {
  const bool given = !prompt.text().empty() || !prompt.token_ids().ids().empty();
  if (given) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(field, ": not given or empty; it must be text or token_ids"));
}

// The question beside documents.
absl::Status CheckQuestion(const v1::Prompt& prompt) {
  LH_RETURN_IF_ERROR(CheckPrompt(prompt));
  if (!prompt.has_chat()) return absl::OkStatus();
  int users = 0, systems = 0;
  for (const v1::Message& message : prompt.chat().messages()) {
    users += message.role() == "user" ? 1 : 0;
    systems += message.role() == "system" ? 1 : 0;
  }
  if (users == 1 && systems <= 1 && users + systems == prompt.chat().messages_size()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "prompt.chat.messages: with contexts there must be exactly one user message, and at most one system message");
}

absl::Status CheckDocuments(const v1::Documents& documents) {
  if (documents.documents().empty()) return absl::InvalidArgumentError("contexts.documents: there are none");
  std::unordered_set<std::string> ids;
  for (int i = 0; i < documents.documents_size(); ++i) {
    const v1::Document& document = documents.documents(i);
    const std::string field = absl::StrCat("contexts.documents[", i, "]");
    if (document.text().empty() && document.token_ids().ids().empty()) {
      return absl::InvalidArgumentError(absl::StrCat(field, ": ", Quoted(document.id()), " is empty"));
    }
    if (document.id().size() > kMaxDocumentIdBytes) {
      return absl::InvalidArgumentError(absl::StrCat(field, ".id: ", document.id().size(), " bytes are more than the ",
                                                     kMaxDocumentIdBytes, " that are allowed"));
    }
    // One without an id has its index for it.
    if (!ids.insert(document.id().empty() ? absl::StrCat(i) : document.id()).second) {
      return absl::InvalidArgumentError(
          absl::StrCat(field, ".id: ", Quoted(document.id().empty() ? absl::StrCat(i) : document.id()),
                       " is the id of an earlier document"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckLongDocument(const v1::LongDocument& document) {
  if (document.text().empty()) return absl::InvalidArgumentError("contexts.long_document.text: the text is empty");
  if (document.has_overlap_tokens() && document.window_tokens() > 0 &&
      document.overlap_tokens() >= document.window_tokens()) {
    return absl::InvalidArgumentError(absl::StrCat("contexts.long_document.overlap_tokens: ", document.overlap_tokens(),
                                                   " is not allowed; it must be less than window_tokens, ",
                                                   document.window_tokens()));
  }
  return absl::OkStatus();
}

absl::Status CheckNbce(const v1::Nbce& nbce) {
  if (nbce.has_beta()) {
    LH_RETURN_IF_ERROR(CheckRange("contexts.nbce.beta", static_cast<double>(nbce.beta()), -1, 100, "-1 to 100"));
  }
  if (nbce.has_eta()) {
    LH_RETURN_IF_ERROR(CheckRange("contexts.nbce.eta", static_cast<double>(nbce.eta()), 0, 100, "0 to 100"));
  }
  if (nbce.has_top_p() && !(nbce.top_p() > 0 && nbce.top_p() <= 1)) {
    return Refuse("contexts.nbce.top_p", static_cast<double>(nbce.top_p()), "above 0 and at most 1");
  }
  if (!v1::Pooling_IsValid(nbce.pooling())) {
    return Refuse("contexts.nbce.pooling", nbce.pooling(), "one of MIN_ENTROPY, MEAN, MAX");
  }
  return absl::OkStatus();
}

absl::Status CheckContexts(const v1::Contexts& contexts) {
  LH_RETURN_IF_ERROR(CheckNbce(contexts.nbce()));
  if (contexts.has_baseline()) LH_RETURN_IF_ERROR(CheckPlain("contexts.baseline", contexts.baseline()));
  switch (contexts.source_case()) {
    case v1::Contexts::kDocuments:
      return CheckDocuments(contexts.documents());
    case v1::Contexts::kLongDocument:
      return CheckLongDocument(contexts.long_document());
    case v1::Contexts::SOURCE_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("contexts: no documents; one of documents, long_document is needed");
}

absl::Status CheckSampling(const v1::Sampling& s) {
  LH_RETURN_IF_ERROR(CheckRange("sampling.temperature", static_cast<double>(s.temperature()), 0, 100, "0 to 100"));
  if (s.top_k() > kMaxTopK) return Refuse("sampling.top_k", s.top_k(), "at most 2^30; 0 keeps all");
  if (s.has_top_p() && !(s.top_p() > 0 && s.top_p() <= 1)) {
    return Refuse("sampling.top_p", static_cast<double>(s.top_p()), "above 0 and at most 1");
  }
  LH_RETURN_IF_ERROR(CheckRange("sampling.min_p", static_cast<double>(s.min_p()), 0, 1, "0 to 1"));
  if (s.has_repetition_penalty() && !(s.repetition_penalty() > 0 && s.repetition_penalty() <= 100)) {
    return Refuse("sampling.repetition_penalty", static_cast<double>(s.repetition_penalty()),
                  "above 0 and at most 100");
  }
  LH_RETURN_IF_ERROR(
      CheckRange("sampling.presence_penalty", static_cast<double>(s.presence_penalty()), -100, 100, "-100 to 100"));
  LH_RETURN_IF_ERROR(
      CheckRange("sampling.frequency_penalty", static_cast<double>(s.frequency_penalty()), -100, 100, "-100 to 100"));
  if (static_cast<int>(s.logit_bias().size()) > kMaxBiases) {
    return Refuse("sampling.logit_bias", static_cast<double>(s.logit_bias().size()), "at most 1024 entries");
  }
  for (const auto& [id, bias] : s.logit_bias()) {
    LH_RETURN_IF_ERROR(
        CheckRange("sampling.logit_bias", static_cast<double>(bias), -1000, 1000, "-1000 to 1000 for each token"));
  }
  return absl::OkStatus();
}

absl::Status CheckStopping(const v1::Stopping& s) {
  if (s.stop_size() > kMaxStops) return Refuse("stopping.stop", s.stop_size(), "at most 16 texts");
  for (const std::string& stop : s.stop()) {
    if (stop.empty() || stop.size() > kMaxStopBytes) {
      return Refuse("stopping.stop", static_cast<double>(stop.size()), "texts of 1 to 1024 bytes");
    }
  }
  if (s.stop_token_ids_size() > kMaxStopIds) {
    return Refuse("stopping.stop_token_ids", s.stop_token_ids_size(), "at most 64 ids");
  }
  if (s.has_max_tokens() && s.min_tokens() > s.max_tokens()) {
    return absl::InvalidArgumentError(
        absl::StrCat("stopping.min_tokens: ", s.min_tokens(), " is more than stopping.max_tokens, ", s.max_tokens()));
  }
  return absl::OkStatus();
}

absl::Status CheckPriority(int32_t priority) {
  return CheckRange("priority", priority, -100, 100, "-100 to 100");
}

absl::Status CheckIds(const char* field, const v1::TokenIds& ids) {
  if (static_cast<size_t>(ids.ids_size()) <= kMaxTextIds) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, ": ", ids.ids_size(), " ids are more than the ", kMaxTextIds, " that one call may hold"));
}

}  // namespace

absl::Status Validate(const v1::GenerateRequest& request) {
  LH_RETURN_IF_ERROR(CheckPriority(request.priority()));
  LH_RETURN_IF_ERROR(request.has_contexts() ? CheckQuestion(request.prompt()) : CheckPrompt(request.prompt()));
  if (request.has_contexts()) LH_RETURN_IF_ERROR(CheckContexts(request.contexts()));
  LH_RETURN_IF_ERROR(CheckSampling(request.sampling()));
  LH_RETURN_IF_ERROR(CheckStopping(request.stopping()));
  if (request.output().has_top_logprobs() && request.output().top_logprobs() > kMaxTopLogprobs) {
    return Refuse("output.top_logprobs", request.output().top_logprobs(), "0 to 20");
  }
  return absl::OkStatus();
}

absl::Status Validate(const v1::ScoreRequest& request) {
  LH_RETURN_IF_ERROR(CheckPriority(request.priority()));
  LH_RETURN_IF_ERROR(request.has_contexts() ? CheckQuestion(request.prompt()) : CheckPrompt(request.prompt()));
  if (request.has_contexts()) {
    LH_RETURN_IF_ERROR(CheckContexts(request.contexts()));
    LH_RETURN_IF_ERROR(CheckPlain("answer", request.answer()));
  } else if (request.has_answer()) {
    return absl::InvalidArgumentError("answer: without contexts there is none; the text to score is the prompt");
  }
  constexpr uint64_t kMax = uint64_t{1} << 62;
  if (request.from_token() > kMax) {
    return Refuse("from_token", static_cast<double>(request.from_token()), "less than the text's length");
  }
  if (request.last_tokens() > kMax) {
    return Refuse("last_tokens", static_cast<double>(request.last_tokens()), "less than the text's length");
  }
  if (request.range_case() == v1::ScoreRequest::kLastTokens && request.last_tokens() == 0) {
    return Refuse("last_tokens", 0, "at least 1");
  }
  if (request.top_logprobs() > kMaxTopLogprobs) return Refuse("top_logprobs", request.top_logprobs(), "0 to 20");
  return absl::OkStatus();
}

absl::Status Validate(const v1::TokenizeRequest& request) {
  LH_RETURN_IF_ERROR(CheckPrompt(request.prompt()));
  LH_RETURN_IF_ERROR(CheckIds("prompt.token_ids.ids", request.prompt().token_ids()));
  size_t bytes = request.prompt().text().size();
  for (const v1::Message& message : request.prompt().chat().messages()) bytes += message.content().size();
  if (bytes <= kMaxTextBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("prompt: ", bytes, " bytes of text are more than the ", kMaxTextBytes,
                                                 " that one call may tokenize; cut the text"));
}

absl::Status Validate(const v1::DetokenizeRequest& request) {
  if (request.token_ids().ids().empty()) return absl::InvalidArgumentError("token_ids: there are none");
  return CheckIds("token_ids.ids", request.token_ids());
}

absl::Status Validate(const v1::CancelRequestRequest& request) {
  if (request.id().empty()) return absl::InvalidArgumentError("id: not given; `longhaul ps` lists the requests");
  return absl::OkStatus();
}

}  // namespace longhaul
