#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/running/request_state.h"

namespace longhaul {

// A Score request without contexts: the log-probabilities of a given text.
class ScoreState final : public RequestState {
 public:
  // REQUIRES: the request holds ScoreParams without contexts, and there is one row; 1 <= first_token < its tokens.
  ScoreState(RequestParts parts, const RunningContext& context, int64_t first_token);

 private:
  bool OnDrawn(Group&, const GroupResult&, Clock::time_point) override { return false; }
  void OnScores(std::span<TokenScore> scores, Clock::time_point now) override;

  int64_t next_token_;  // the first token that has not been reported
};

// A Score request with contexts: decodes with the tokens of the given answer as if they were drawn, because the merge
// of a step depends on the choice of the step before.
class ContextScoreState final : public RequestState, private DrawSource {
 public:
  // REQUIRES: the request holds ScoreParams with contexts; 0 <= first_token < answer.size().
  ContextScoreState(RequestParts parts, const RunningContext& context, std::vector<TokenId> answer,
                    int64_t first_token);

 private:
  BatchDraw NextDraw(const Group& group, int64_t n_ahead, Batch& batch) const override;
  bool OnDrawn(Group& group, const GroupResult& result, Clock::time_point now) override;
  void OnScores(std::span<TokenScore>, Clock::time_point) override {}
  void OnFinish(Finished& finished) override { finished.truncated_tokens = truncated_; }

  const std::vector<TokenId> answer_;
  const size_t first_token_;
  size_t next_token_ = 0;
  int64_t truncated_ = 0;
  std::shared_ptr<const SamplerSpec> spec_;
  MergePolicy merge_;
  int32_t previous_row_ = -1;  // the one that was chosen for the last token
};

}  // namespace longhaul
