#include "engine/request_preparer.h"

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace longhaul {
namespace {

constexpr int64_t kDefaultMaxTokens = 256;

uint64_t DrawSeed() {
  static thread_local std::mt19937_64 generator{std::random_device{}()};
  return generator();
}

// The longest row whose blocks and near ring fit into `n_blocks`.
int64_t MostTokensInBlocks(int64_t n_blocks, const RotaryPlan& plan) {
  int64_t fits = 0, too_many = n_blocks + 1;
  while (too_many - fits > 1) {
    const int64_t blocks = (fits + too_many) / 2;
    const int64_t with_ring = blocks + RingBlocks(plan, blocks * kBlockTokens);
    (with_ring <= n_blocks ? fits : too_many) = blocks;
  }
  return fits * kBlockTokens;
}

void DescribePosition(const ResolvedPosition& position, Started& started) {
  started.position = position.mode;
  started.reach = position.plan.reach.value_or(0);
  started.past_recommended = position.past_recommended;
  started.refit = position.refit;
}

}  // namespace

RequestPreparer::Room RequestPreparer::MostTokens(const ResolvedPosition& position) const {
  Room room{INT64_MAX, "", Rejection::kTooLong};
  if (!position.mode.allow_beyond_reach && position.plan.reach.has_value()) {
    room = {*position.plan.reach,
            absl::StrCat("what position mode ", Name(position.mode), " reaches here (trained for ",
                         position.mode.trained_length, " tokens)"),
            Rejection::kTooLong};
  }
  const int64_t cached = MostTokensInBlocks(pool_.total(), position.plan);
  if (cached < room.tokens) room = {cached, "what the KV cache holds (--kv-cache-memory)", Rejection::kNoBlocks};
  if (limits_.max_request_tokens > 0 && limits_.max_request_tokens < room.tokens) {
    room = {limits_.max_request_tokens, "the server's bound (--max-request-tokens)", Rejection::kTooLong};
  }
  return room;
}

RequestPreparer::Room RequestPreparer::MostTokensInAnyMode() const {
  if (limits_.max_request_tokens > 0 && limits_.max_request_tokens < cache_tokens()) {
    return {limits_.max_request_tokens, "the server's bound (--max-request-tokens)", Rejection::kTooLong};
  }
  return {cache_tokens(), "what the KV cache holds (--kv-cache-memory)", Rejection::kNoBlocks};
}

absl::Status RequestPreparer::TooLong(const Room& room, const std::string& message) const {
  telemetry_.rejections[room.rejection].Add();
  return absl::InvalidArgumentError(message);
}

absl::Status RequestPreparer::CheckWanted(const Request& request, const EventStream& stream) const {
  if (request.deadline.has_value() && *request.deadline <= Clock::now()) {
    return DeadlineError(request);
  }
  if (stream.cancelled() || gives_up_.load()) return absl::CancelledError("the request was cancelled");
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TokenId>> RequestPreparer::TakePrompt(Request& request, const EventStream& stream) const {
  Prompt& prompt = std::visit([](auto& params) -> Prompt& { return params.prompt; }, request.params);
  const Room room = MostTokensInAnyMode();
  if (const absl::Status status = encoder_.CheckLength(prompt, room.tokens, room.limit); !status.ok()) {
    return TooLong(room, std::string(status.message()));
  }
  auto ids = encoder_.Encode(prompt, /*parse_special=*/false, [&] { return !CheckWanted(request, stream).ok(); });
  LH_RETURN_IF_ERROR(CheckWanted(request, stream));
  prompt = Prompt();
  return ids;
}

absl::StatusOr<std::unique_ptr<RequestState>> RequestPreparer::Prepare(Request request,
                                                                       std::shared_ptr<EventStream> stream,
                                                                       Clock::time_point submitted) const {
  LH_RETURN_IF_ERROR(CheckWanted(request, *stream));
  if (std::holds_alternative<ScoreParams>(request.params)) {
    return PrepareScore(std::move(request), std::move(stream), submitted);
  }
  return PrepareGenerate(std::move(request), std::move(stream), submitted);
}

absl::StatusOr<std::unique_ptr<RequestState>> RequestPreparer::PrepareGenerate(Request request,
                                                                               std::shared_ptr<EventStream> stream,
                                                                               Clock::time_point submitted) const {
  const auto& params = std::get<GenerateParams>(request.params);
  for (size_t i = 0; i < params.stopping.stop_token_ids.size(); ++i) {
    LH_RETURN_IF_ERROR(
        encoder_.CheckId(absl::StrCat("stopping.stop_token_ids[", i, "]"), params.stopping.stop_token_ids[i]));
  }
  for (const auto& [id, bias] : params.sampling.logit_bias) {
    LH_RETURN_IF_ERROR(encoder_.CheckId("sampling.logit_bias", id));
  }
  if (params.samples > limits_.max_rows) {
    return absl::InvalidArgumentError(absl::StrCat("samples: ", params.samples, " is not allowed; it must be at most ",
                                                   limits_.max_rows, ", the rows that can run at a time (--max-rows)"));
  }
  LH_ASSIGN_OR_RETURN(std::vector<TokenId> prompt, TakePrompt(request, *stream));
  const int64_t prompt_tokens = static_cast<int64_t>(prompt.size());
  const int64_t wanted_tokens =
      params.stopping.max_tokens.value_or(std::max(kDefaultMaxTokens, params.stopping.min_tokens));
  LH_ASSIGN_OR_RETURN(ResolvedPosition position, positions_.Resolve(params.position, prompt_tokens + wanted_tokens));
  const Room room = MostTokens(position);
  const int64_t max_tokens =
      params.stopping.max_tokens.value_or(std::clamp<int64_t>(room.tokens - prompt_tokens, 1, wanted_tokens));
  if (max_tokens > room.tokens - prompt_tokens) {
    return TooLong(room, absl::StrCat("stopping.max_tokens: the prompt's ", prompt_tokens, " tokens and ", max_tokens,
                                      " of the answer exceed ", room.tokens, ", ", room.limit));
  }
  if (params.stopping.min_tokens > max_tokens) {
    return TooLong(room, absl::StrCat("stopping.min_tokens: ", params.stopping.min_tokens, " is more than the ",
                                      max_tokens, " tokens that the answer may have; the prompt has ", prompt_tokens,
                                      ", and ", room.tokens, " is ", room.limit));
  }
  Started started;
  started.prompt_tokens = prompt_tokens;
  started.max_tokens = max_tokens;
  DescribePosition(position, started);
  started.seed = params.seed.has_value() ? *params.seed : DrawSeed();
  started.engine_fingerprint = limits_.engine_fingerprint;
  return std::make_unique<GenerateState>(std::move(request), std::move(stream), submitted, std::move(started),
                                         std::move(prompt), std::move(position.plan), encoder_.tokenizer(), pool_);
}

absl::StatusOr<std::unique_ptr<RequestState>> RequestPreparer::PrepareScore(Request request,
                                                                            std::shared_ptr<EventStream> stream,
                                                                            Clock::time_point submitted) const {
  const auto& params = std::get<ScoreParams>(request.params);
  LH_ASSIGN_OR_RETURN(std::vector<TokenId> text, TakePrompt(request, *stream));
  const int64_t n = static_cast<int64_t>(text.size());
  if (n < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("prompt: the text has ", n, " token; a score needs at least 2, because the first has no context"));
  }
  LH_ASSIGN_OR_RETURN(ResolvedPosition position, positions_.Resolve(params.position, n));
  const Room room = MostTokens(position);
  if (n > room.tokens) {
    return TooLong(room, absl::StrCat("prompt: the text's ", n, " tokens exceed ", room.tokens, ", ", room.limit));
  }
  if (params.from_token >= n) {
    return absl::InvalidArgumentError(
        absl::StrCat("from_token: ", params.from_token, " is past the text's last token, ", n - 1));
  }
  if (params.last_tokens >= n) {
    return absl::InvalidArgumentError(absl::StrCat("last_tokens: ", params.last_tokens, " of a text of ", n,
                                                   " tokens; at most ", n - 1, " have a context"));
  }
  const int64_t first_token = params.last_tokens > 0 ? n - params.last_tokens : std::max<int64_t>(params.from_token, 1);
  Started started;
  started.prompt_tokens = n;
  DescribePosition(position, started);
  started.engine_fingerprint = limits_.engine_fingerprint;
  return std::make_unique<ScoreState>(std::move(request), std::move(stream), submitted, std::move(started),
                                      std::move(text), first_token, std::move(position.plan), pool_);
}

}  // namespace longhaul
