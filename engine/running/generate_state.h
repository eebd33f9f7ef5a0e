#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/decoding/stop_matcher.h"
#include "engine/running/request_state.h"
#include "engine/text/detokenizer.h"

namespace longhaul {

// A Generate request: turns drawn tokens into the text of its answers.
class GenerateState final : public RequestState, private DrawSource {
 public:
  // `tokenizer` is not owned and outlives it. REQUIRES: the request holds GenerateParams.
  GenerateState(RequestParts parts, const RunningContext& context, const Tokenizer& tokenizer);

  std::vector<Group*> MakeFurtherGroups() override;

 private:
  // The answer that the group of the same index makes.
  struct Answer {
    Answer(const Tokenizer& tokenizer, const std::vector<std::string>& stops)
        : detokenizer(tokenizer), stop_matcher(stops) {}

    // What each token touches comes first and lies together.
    int64_t n_tokens = 0;
    Clock::time_point last_token{};
    bool ended = false;
    Detokenizer detokenizer;
    StopMatcher stop_matcher;
    Chunk pending;
    std::optional<Citation> cited;  // of its last token
    // Of its tokens, and where each stands there; kept where a penalty is on.
    std::vector<TokenCount> counts;
    std::unordered_map<TokenId, size_t> count_of;
    int32_t previous_row = -1;  // the row that its last token is cited from
  };

  BatchDraw NextDraw(const Group& group, int64_t n_ahead, Batch& batch) const override;
  void PrefetchDrawn(const Group& group, const SamplerResult& drawn) const override;
  bool OnDrawn(Group& group, const GroupResult& result, Clock::time_point now) override;
  void OnScores(std::span<TokenScore>, Clock::time_point) override {}
  void OnFinish(Finished& finished) override;
  int64_t n_samples() const override { return n_samples_; }

  const GenerateParams& params() const { return std::get<GenerateParams>(request_.params); }
  // Adds the answer of `group`.
  void AddAnswer(Group& group);
  // Sets the citation of the next token; emits what is pending where that cites another document.
  void Cite(Answer& answer, const MergeChoice& choice);
  // Ends an answer; with the last one the request finishes.
  void End(Answer& answer, FinishReason reason, Clock::time_point now);
  // Adds text to the pending chunk, through the stop strings once min_tokens have been made.
  void AppendText(Answer& answer, const std::string& text);
  // Adds the text that detokenizer and stop matcher hold back.
  void AppendRest(Answer& answer);
  void EmitPending(Answer& answer);

  // What each token touches comes first and lies together.
  std::deque<Answer> answers_;
  const Tokenizer& tokenizer_;
  const std::span<const TokenId> stop_ids_;
  const int64_t max_tokens_, min_tokens_, n_samples_;
  const bool tells_tokens_;  // chunks carry token ids, log-probabilities or the like
  int64_t n_ended_ = 0;
  FinishReason first_reason_ = FinishReason::kError;  // of answer 0
  std::vector<DocumentUse> documents_;                // their mean entropies are sums until the end
  std::shared_ptr<const SamplerSpec> spec_;           // of all answers
};

}  // namespace longhaul
