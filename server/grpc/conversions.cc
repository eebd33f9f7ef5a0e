#include "server/grpc/conversions.h"

#include <algorithm>
#include <limits>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/field_error.h"
#include "engine/base/status_macros.h"
#include "server/grpc/position_conversion.h"

namespace longhaul {
namespace {

void Append(const std::vector<TokenLogprob>& top, v1::TopLogprobs& out) {
  for (const TokenLogprob& token : top) {
    v1::TokenLogprob& entry = *out.add_tokens();
    entry.set_id(token.id);
    entry.set_logprob(token.logprob);
  }
}

v1::FinishReason ToWire(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return v1::FINISH_REASON_STOP;
    case FinishReason::kLength:
      return v1::FINISH_REASON_LENGTH;
    case FinishReason::kEos:
      return v1::FINISH_REASON_EOS;
    case FinishReason::kCancelled:
      return v1::FINISH_REASON_CANCELLED;
    case FinishReason::kDeadline:
      return v1::FINISH_REASON_DEADLINE;
    case FinishReason::kStalled:
      return v1::FINISH_REASON_STALLED;
    case FinishReason::kError:
      return v1::FINISH_REASON_ERROR;
    case FinishReason::kUnavailable:
      return v1::FINISH_REASON_UNAVAILABLE;
  }
  return v1::FINISH_REASON_UNSPECIFIED;
}

v1::Citation ToWire(const Citation& citation) {
  v1::Citation out;
  out.set_document(static_cast<uint32_t>(citation.document));
  out.set_id(citation.id);
  out.set_fell_back(citation.fell_back);
  return out;
}

void Append(const Chunk& chunk, v1::Chunk& out) {
  out.set_sample(static_cast<uint32_t>(chunk.sample));
  if (chunk.ended.has_value()) out.set_finish_reason(ToWire(*chunk.ended));
  if (chunk.citation.has_value()) *out.mutable_citation() = ToWire(*chunk.citation);
  for (const std::vector<float>& of_token : chunk.entropies) {
    out.add_entropies()->mutable_nats()->Add(of_token.begin(), of_token.end());
  }
  out.mutable_text()->append(chunk.text);
  for (const ChunkToken& token : chunk.tokens) {
    out.add_token_ids(token.id);
    if (!token.logprob.has_value()) continue;
    out.add_logprobs(*token.logprob);
    if (!token.top.empty()) Append(token.top, *out.add_top());
  }
}

void Append(const ScoreChunk& chunk, v1::Scores& out) {
  for (const ScoredToken& token : chunk.tokens) {
    out.add_logprobs(token.logprob);
    if (!token.top.empty()) Append(token.top, *out.add_top());
  }
}

v1::RequestState ToWire(RequestPhase phase) {
  switch (phase) {
    case RequestPhase::kWaiting:
      return v1::REQUEST_STATE_WAITING;
    case RequestPhase::kPrefill:
      return v1::REQUEST_STATE_PREFILL;
    case RequestPhase::kDecode:
      return v1::REQUEST_STATE_DECODE;
  }
  return v1::REQUEST_STATE_UNSPECIFIED;
}

v1::Progress ToWire(const Progress& progress) {
  v1::Progress out;
  out.set_prefilled_tokens(static_cast<uint64_t>(progress.prefilled_tokens));
  out.set_total_tokens(static_cast<uint64_t>(progress.total_tokens));
  return out;
}

// What both kinds of streams have.
template <typename Response>
void SetCommon(const Event& event, Response& response) {
  if (const auto* started = std::get_if<Started>(&event)) *response.mutable_started() = ToWire(*started);
  if (const auto* progress = std::get_if<Progress>(&event)) *response.mutable_progress() = ToWire(*progress);
  if (const auto* finished = std::get_if<Finished>(&event)) *response.mutable_finished() = ToWire(*finished);
}

bool IsCitedAlike(const Chunk& chunk, const v1::Chunk& before) {
  if (!chunk.citation.has_value()) return !before.has_citation();
  // Ids follow from the index.
  return before.has_citation() && chunk.citation->document == before.citation().document() &&
         chunk.citation->fell_back == before.citation().fell_back();
}

// A message that grows without end holds its reader up and meets the reader's limit, 4 MiB by default.
template <typename Response>
bool IsLarge(const Response& response) {
  constexpr size_t kLarge = 256 << 10;
  return response.ByteSizeLong() >= kLarge;
}

// A number that the engine holds as an int.
absl::StatusOr<int32_t> IntFromWire(std::string_view field, uint32_t number) {
  if (number <= static_cast<uint32_t>(std::numeric_limits<int32_t>::max())) return static_cast<int32_t>(number);
  return NotAllowed(field, number, "below 2^31");
}

// One that is not given is an empty text.
Prompt PromptFromWire(v1::Prompt&& prompt) {
  switch (prompt.kind_case()) {
    case v1::Prompt::kTokenIds:
      return TokenPrompt{{prompt.token_ids().ids().begin(), prompt.token_ids().ids().end()}};
    case v1::Prompt::kChat: {
      ChatPrompt chat;
      for (v1::Message& message : *prompt.mutable_chat()->mutable_messages()) {
        chat.messages.push_back({std::move(*message.mutable_role()), std::move(*message.mutable_content())});
      }
      return chat;
    }
    default:
      return TextPrompt{std::move(*prompt.mutable_text())};
  }
}

absl::StatusOr<NbceParams> NbceFromWire(const v1::Nbce& nbce) {
  NbceParams out;
  if (nbce.has_beta()) out.beta = nbce.beta();
  if (nbce.has_eta()) out.eta = nbce.eta();
  if (nbce.has_top_p()) out.top_p = nbce.top_p();
  switch (nbce.pooling()) {
    case v1::POOLING_UNSPECIFIED:
    case v1::POOLING_MIN_ENTROPY:
      out.pooling = NbcePooling::kMinEntropy;
      return out;
    case v1::POOLING_MEAN:
      out.pooling = NbcePooling::kMean;
      return out;
    case v1::POOLING_MAX:
      out.pooling = NbcePooling::kMax;
      return out;
    default:
      return NotAllowed("contexts.nbce.pooling", static_cast<int>(nbce.pooling()), "one of MIN_ENTROPY, MEAN, MAX");
  }
}

}  // namespace

absl::StatusOr<Prompt> FromWire(v1::Prompt&& prompt) {
  if (prompt.kind_case() == v1::Prompt::KIND_NOT_SET) {
    return FieldError("prompt", "not given; one of text, token_ids, chat is needed");
  }
  return PromptFromWire(std::move(prompt));
}

absl::StatusOr<Contexts> FromWire(v1::Contexts&& contexts) {
  Contexts out;
  LH_ASSIGN_OR_RETURN(out.nbce, NbceFromWire(contexts.nbce()));
  if (contexts.has_long_document()) {
    v1::LongDocument& document = *contexts.mutable_long_document();
    LongDocument& to = out.source.emplace<LongDocument>();
    to.text = std::move(*document.mutable_text());
    to.window_tokens = document.window_tokens();
    if (document.has_overlap_tokens()) to.overlap_tokens = document.overlap_tokens();
  } else if (!contexts.has_documents()) {
    return FieldError("contexts", "no documents; one of documents, long_document is needed");
  } else {
    std::vector<Document>& documents = std::get<std::vector<Document>>(out.source);
    for (v1::Document& document : *contexts.mutable_documents()->mutable_documents()) {
      Document& to = documents.emplace_back();
      to.id = std::move(*document.mutable_id());
      if (document.has_token_ids()) {
        to.content = std::vector<TokenId>(document.token_ids().ids().begin(), document.token_ids().ids().end());
      } else {
        to.content = std::move(*document.mutable_text());
      }
    }
  }
  out.document_template = std::move(*contexts.mutable_document_template());
  if (contexts.has_baseline()) out.baseline = PromptFromWire(std::move(*contexts.mutable_baseline()));
  return out;
}

namespace {

// What both kinds of requests have.
template <typename Message, typename Params>
absl::Status TakeCommon(Message& request, Params& params) {
  LH_ASSIGN_OR_RETURN(params.prompt, FromWire(std::move(*request.mutable_prompt())));
  if (request.has_contexts()) {
    LH_ASSIGN_OR_RETURN(params.contexts, FromWire(std::move(*request.mutable_contexts())));
  }
  LH_ASSIGN_OR_RETURN(params.position, FromWire(request.position()));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<GenerateParams> FromWire(v1::GenerateRequest&& request) {
  GenerateParams params;
  LH_RETURN_IF_ERROR(TakeCommon(request, params));
  const v1::Sampling& sampling = request.sampling();
  params.sampling.temperature = sampling.temperature();
  LH_ASSIGN_OR_RETURN(params.sampling.top_k, IntFromWire("sampling.top_k", sampling.top_k()));
  params.sampling.top_p = sampling.has_top_p() ? sampling.top_p() : 1;
  params.sampling.min_p = sampling.min_p();
  params.sampling.repetition_penalty = sampling.has_repetition_penalty() ? sampling.repetition_penalty() : 1;
  params.sampling.presence_penalty = sampling.presence_penalty();
  params.sampling.frequency_penalty = sampling.frequency_penalty();
  params.sampling.logit_bias.assign(sampling.logit_bias().begin(), sampling.logit_bias().end());
  std::sort(params.sampling.logit_bias.begin(), params.sampling.logit_bias.end());
  if (sampling.has_seed()) params.seed = sampling.seed();
  const v1::Stopping& stopping = request.stopping();
  if (stopping.has_max_tokens()) params.stopping.max_tokens = stopping.max_tokens();
  params.stopping.min_tokens = stopping.min_tokens();
  params.stopping.stop.assign(stopping.stop().begin(), stopping.stop().end());
  params.stopping.stop_token_ids.assign(stopping.stop_token_ids().begin(), stopping.stop_token_ids().end());
  params.stopping.ignore_eos = stopping.ignore_eos();
  const v1::Output& output = request.output();
  if (output.has_top_logprobs()) {
    LH_ASSIGN_OR_RETURN(params.output.logprobs, IntFromWire("output.top_logprobs", output.top_logprobs()));
  }
  params.output.token_ids = output.token_ids();
  params.output.progress = output.progress();
  params.output.entropies = output.entropies();
  params.samples = std::max<int64_t>(request.samples(), 1);
  params.first_sample = request.first_sample();
  return params;
}

absl::StatusOr<ScoreParams> FromWire(v1::ScoreRequest&& request) {
  ScoreParams params;
  LH_RETURN_IF_ERROR(TakeCommon(request, params));
  LH_ASSIGN_OR_RETURN(params.from_token, TokensFromWire("from_token", request.from_token()));
  LH_ASSIGN_OR_RETURN(params.last_tokens, TokensFromWire("last_tokens", request.last_tokens()));
  // The engine's 0 stands for one that is not given.
  if (request.range_case() == v1::ScoreRequest::kLastTokens && request.last_tokens() == 0) {
    return NotAllowed("last_tokens", 0, "at least 1");
  }
  LH_ASSIGN_OR_RETURN(params.top_logprobs, IntFromWire("top_logprobs", request.top_logprobs()));
  if (request.has_answer()) params.answer = PromptFromWire(std::move(*request.mutable_answer()));
  return params;
}

v1::Started ToWire(const Started& started) {
  v1::Started out;
  out.set_prompt_tokens(static_cast<uint64_t>(started.prompt_tokens));
  out.set_cached_tokens(static_cast<uint64_t>(started.cached_tokens));
  out.set_max_tokens(static_cast<uint64_t>(started.max_tokens));
  out.set_reach(static_cast<uint64_t>(started.reach));
  out.set_seed(started.seed);
  out.set_engine_fingerprint(started.engine_fingerprint);
  *out.mutable_position() = ToWire(started.position);
  out.set_past_recommended(started.past_recommended);
  out.set_refit(started.refit);
  for (const TextRange& window : started.windows) {
    v1::Window& to = *out.add_windows();
    to.set_first_byte(static_cast<uint64_t>(window.first_byte));
    to.set_bytes(static_cast<uint64_t>(window.bytes));
  }
  return out;
}

v1::Finished ToWire(const Finished& finished) {
  v1::Finished out;
  out.set_reason(ToWire(finished.reason));
  out.mutable_usage()->set_prompt_tokens(static_cast<uint64_t>(finished.usage.prompt_tokens));
  out.mutable_usage()->set_cached_tokens(static_cast<uint64_t>(finished.usage.cached_tokens));
  out.mutable_usage()->set_completion_tokens(static_cast<uint64_t>(finished.usage.completion_tokens));
  out.mutable_timings()->set_queue(finished.timings.queue);
  out.mutable_timings()->set_prefill(finished.timings.prefill);
  out.mutable_timings()->set_decode(finished.timings.decode);
  out.mutable_timings()->set_first_token(finished.timings.first_token);
  for (const DocumentUse& document : finished.documents) {
    v1::DocumentUse& to = *out.add_documents();
    to.set_tokens(static_cast<uint64_t>(document.tokens));
    to.set_mean_entropy(document.mean_entropy);
  }
  out.set_truncated_tokens(static_cast<uint64_t>(finished.truncated_tokens));
  return out;
}

void ToWire(const Event& event, v1::GenerateResponse& response) {
  SetCommon(event, response);
  if (const auto* chunk = std::get_if<Chunk>(&event)) Append(*chunk, *response.mutable_chunk());
}

void ToWire(const Event& event, v1::ScoreResponse& response) {
  SetCommon(event, response);
  if (const auto* chunk = std::get_if<ScoreChunk>(&event)) {
    response.mutable_scores()->set_first_token(static_cast<uint64_t>(chunk->first_token));
    Append(*chunk, *response.mutable_scores());
  }
}

bool Coalesce(const Event& event, v1::GenerateResponse& response) {
  const auto* chunk = std::get_if<Chunk>(&event);
  if (chunk == nullptr || !response.has_chunk() || IsLarge(response)) return false;
  if (chunk->sample != response.chunk().sample() || !IsCitedAlike(*chunk, response.chunk())) return false;
  Append(*chunk, *response.mutable_chunk());
  return true;
}

bool Coalesce(const Event& event, v1::ScoreResponse& response) {
  const auto* chunk = std::get_if<ScoreChunk>(&event);
  if (chunk == nullptr || !response.has_scores() || IsLarge(response)) return false;
  Append(*chunk, *response.mutable_scores());
  return true;
}

v1::RequestInfo ToWire(const RequestInfo& info) {
  v1::RequestInfo out;
  out.set_id(info.id);
  out.set_client(info.client);
  *out.mutable_position() = ToWire(info.position);
  out.set_state(ToWire(info.progress.phase));
  out.set_rows(static_cast<uint32_t>(info.rows));
  out.set_prompt_tokens(static_cast<uint64_t>(info.prompt_tokens));
  out.set_tokens_read(static_cast<uint64_t>(info.progress.tokens_read));
  out.set_tokens_generated(static_cast<uint64_t>(info.progress.tokens_generated));
  out.set_age(info.age);
  out.set_blocks(static_cast<uint64_t>(info.progress.blocks));
  out.set_priority(info.priority);
  return out;
}

v1::GetModelResponse ToWire(const ModelInfo& model, const EngineStats& stats) {
  v1::GetModelResponse out;
  out.set_name(model.name);
  out.set_architecture(model.architecture);
  out.set_parameters(static_cast<uint64_t>(model.parameters));
  out.set_file_bytes(static_cast<uint64_t>(model.file_bytes));
  out.set_file_type(model.file_type);
  out.set_vocabulary_size(static_cast<uint64_t>(model.vocabulary_size));
  out.set_trained_length(static_cast<uint64_t>(model.trained_length));
  out.set_layers(static_cast<uint64_t>(model.n_layers));
  out.set_heads(static_cast<uint64_t>(model.n_heads));
  out.set_kv_heads(static_cast<uint64_t>(model.n_kv_heads));
  out.set_head_dim(static_cast<uint64_t>(model.head_dim));
  out.set_width(static_cast<uint64_t>(model.width));
  out.set_chat_template(model.chat_template);
  out.set_pre_tokenizer(model.pre_tokenizer);
  for (TokenId id : model.end_tokens) out.add_end_tokens(id);
  out.set_compute_type(model.compute_type);
  out.set_kv_cache_type(model.cache_type);
  out.set_backend(model.backend);
  out.set_instruction_set(model.instruction_set);
  out.set_threads(static_cast<uint32_t>(model.threads));
  out.set_cache_tokens(static_cast<uint64_t>(model.cache_tokens));
  out.set_cache_tokens_used(static_cast<uint64_t>(stats.blocks_used * model.block_tokens));
  out.set_running(static_cast<uint32_t>(stats.running));
  out.set_waiting(static_cast<uint32_t>(stats.waiting));
  out.set_version(model.version);
  out.set_engine_fingerprint(model.engine_fingerprint);
  return out;
}

}  // namespace longhaul
