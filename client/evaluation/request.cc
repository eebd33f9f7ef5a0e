#include "client/evaluation/request.h"

#include <chrono>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/evaluation/position_name.h"

namespace longhaul {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point begin) {
  return std::round(std::chrono::duration<double>(Clock::now() - begin).count() * 1e3) / 1e3;
}

void TakeStarted(const v1::Started& started, Measurement& measurement) {
  measurement.resolved = PositionName(started.position());
  measurement.reach = static_cast<int64_t>(started.reach());
  measurement.past_recommended = started.past_recommended();
  measurement.refit = started.refit();
  measurement.engine_fingerprint = started.engine_fingerprint();
  measurement.tokens = static_cast<int64_t>(started.prompt_tokens());
}

template <typename Request>
void FillPrompt(const std::vector<int32_t>& tokens, const v1::PositionMode& position, Request& request) {
  request.mutable_prompt()->mutable_token_ids()->mutable_ids()->Assign(tokens.begin(), tokens.end());
  *request.mutable_position() = position;
}

}  // namespace

absl::StatusOr<ScoredText> Score(Client& client, const std::vector<int32_t>& tokens, const v1::PositionMode& position,
                                 int64_t from_token, bool likeliest, const OnProgress& on_progress,
                                 Measurement& measurement) {
  v1::ScoreRequest request;
  FillPrompt(tokens, position, request);
  request.set_from_token(static_cast<uint64_t>(from_token));
  request.set_top_logprobs(likeliest ? 1 : 0);
  ScoredText scored;
  bool finite = true;
  const auto begin = Clock::now();
  const absl::Status status = client.Score(request, {}, [&](const v1::ScoreResponse& message) {
    if (message.has_started()) TakeStarted(message.started(), measurement);
    for (const float logprob : message.scores().logprobs()) {
      const double loss = -std::round(static_cast<double>(logprob) * 1e5) / 1e5;
      finite = finite && std::isfinite(loss);
      scored.losses.push_back(loss + 0.0);  // no -0
    }
    for (const v1::TopLogprobs& top : message.scores().top()) {
      scored.likeliest.push_back(top.tokens().empty() ? -1 : top.tokens(0).id());
    }
    return on_progress(message.has_progress() ? static_cast<int64_t>(message.progress().prefilled_tokens()) : 0);
  });
  if (!status.ok()) return status;
  const size_t wanted = tokens.size() - static_cast<size_t>(from_token);
  if (scored.losses.size() != wanted || (likeliest && scored.likeliest.size() != wanted)) {
    return absl::InternalError(
        absl::StrCat("the server scored ", scored.losses.size(), " tokens where ", wanted, " were asked for"));
  }
  if (!finite) return absl::InvalidArgumentError("a token's log-probability is not a finite number");
  measurement.seconds = SecondsSince(begin);
  return scored;
}

absl::StatusOr<std::string> Generate(Client& client, v1::GenerateRequest request, const OnProgress& on_progress,
                                     Measurement& measurement, v1::Finished& finished) {
  request.mutable_output()->set_progress(true);
  std::string answer;
  const auto begin = Clock::now();
  const absl::Status status = client.Generate(request, {}, [&](const v1::GenerateResponse& message) {
    if (message.has_started()) TakeStarted(message.started(), measurement);
    if (message.has_finished()) finished = message.finished();
    answer += message.chunk().text();
    return on_progress(message.has_progress() ? static_cast<int64_t>(message.progress().prefilled_tokens()) : 0);
  });
  if (!status.ok()) return status;
  measurement.seconds = SecondsSince(begin);
  return answer;
}

absl::StatusOr<std::string> Continue(Client& client, const std::vector<int32_t>& tokens,
                                     const v1::PositionMode& position, uint32_t max_tokens,
                                     const OnProgress& on_progress, Measurement& measurement) {
  v1::GenerateRequest request;
  FillPrompt(tokens, position, request);
  request.mutable_stopping()->set_max_tokens(max_tokens);
  v1::Finished finished;
  return Generate(client, std::move(request), on_progress, measurement, finished);
}

}  // namespace longhaul
