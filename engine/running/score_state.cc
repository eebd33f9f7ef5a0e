#include "engine/running/score_state.h"

#include <cmath>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"

namespace longhaul {

ScoreState::ScoreState(RequestParts parts, const RunningContext& context, int64_t first_token)
    : RequestState(std::move(parts), context), next_token_(first_token) {
  Group& group = groups_.front();
  group.score_from = first_token;
  group.top_scores = std::get<ScoreParams>(request_.params).top_logprobs;
}

void ScoreState::OnScores(std::span<TokenScore> scores, Clock::time_point now) {
  ScoreChunk chunk;
  chunk.first_token = next_token_;
  for (TokenScore& score : scores) {
    if (std::isnan(score.logprob)) {
      const int64_t token = next_token_ + std::ssize(chunk.tokens);
      return Finish(FinishReason::kError, NotNumbers(absl::StrCat("token ", token, " cannot be scored")), now);
    }
    chunk.tokens.push_back({score.logprob, std::move(score.top)});
  }
  next_token_ += static_cast<int64_t>(scores.size());
  groups_.front().score_from = next_token_;  // after a preemption these are not scored again
  Emit(std::move(chunk));
}

ContextScoreState::ContextScoreState(RequestParts parts, const RunningContext& context, std::vector<TokenId> answer,
                                     int64_t first_token)
    : RequestState(std::move(parts), context),
      answer_(std::move(answer)),
      first_token_(static_cast<size_t>(first_token)) {
  const auto& params = std::get<ScoreParams>(request_.params);
  auto spec = std::make_shared<SamplerSpec>();
  spec->top_logprobs = params.top_logprobs;
  spec_ = std::move(spec);
  merge_.params = params.contexts->nbce;
  Group& group = groups_.front();
  group.max_new_tokens = std::ssize(answer_);
  group.draws = this;
}

BatchDraw ContextScoreState::NextDraw(const Group&, int64_t n_ahead, Batch&) const {
  BatchDraw draw;
  draw.spec = spec_;
  draw.forced = answer_[next_token_ + static_cast<size_t>(n_ahead)];
  draw.merge = merge_;
  draw.previous = previous_row_;
  return draw;
}

bool ContextScoreState::OnDrawn(Group& group, const GroupResult& result, Clock::time_point now) {
  const SamplerResult& drawn = result.drawn;
  if (drawn.id < 0) {
    Finish(FinishReason::kError, NothingToDraw(), now);
    return true;
  }
  CountChoice(result.choice, previous_row_);
  previous_row_ = result.choice.row;
  for (Sequence& row : group.rows) row.tokens.push_back(drawn.id);
  const size_t token = next_token_++;
  if (token >= first_token_) {
    if (std::isinf(drawn.logprob)) ++truncated_;
    Emit(ScoreChunk{static_cast<int64_t>(token), {{drawn.logprob, drawn.top}}});
  }
  if (next_token_ < answer_.size()) return false;
  Finish(FinishReason::kLength, absl::OkStatus(), now);
  return true;
}

}  // namespace longhaul
