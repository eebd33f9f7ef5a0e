#include "engine/running/generate_state.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "engine/base/prefetch.h"

namespace longhaul {

GenerateState::GenerateState(RequestParts parts, const RunningContext& context, const Tokenizer& tokenizer)
    : RequestState(std::move(parts), context),
      tokenizer_(tokenizer),
      stop_ids_(params().stopping.stop_token_ids),
      max_tokens_(started().max_tokens),
      min_tokens_(params().stopping.min_tokens),
      n_samples_(params().samples),
      tells_tokens_(params().output.token_ids || params().output.logprobs.has_value()) {
  auto spec = std::make_shared<SamplerSpec>();
  spec->params = params().sampling;
  spec->params.seed = started().seed;
  spec->top_logprobs = params().output.logprobs.value_or(-1);
  spec->end_tokens = tokenizer_.end_tokens();
  spec->stop_tokens = params().stopping.stop_token_ids;
  Group& group = groups_.front();
  // With contexts the penalties count the answer alone.
  if (spec->counts_tokens() && !has_contexts()) {
    for (TokenId id : group.rows.front().tokens) ++spec->prompt_counts[id];
  }
  spec_ = std::move(spec);
  if (has_contexts()) documents_.resize(group.rows.size() - 1);
  AddAnswer(group);
}

void GenerateState::AddAnswer(Group& group) {
  Answer& answer = answers_.emplace_back(tokenizer_, params().stopping.stop);
  answer.pending.sample = group.sample;
  group.max_new_tokens = max_tokens_;
  if (max_tokens_ > 0) group.draws = this;
}

std::vector<Group*> GenerateState::MakeFurtherGroups() {
  std::vector<Group*> further;
  if (std::ssize(answers_) >= n_samples_ || !groups_.front().prompt_read || finished()) return further;
  // Each group copies the prompt, so only a few wait at a time.
  constexpr int64_t kMaxWaiting = 8;
  int64_t waiting = std::count_if(groups_.begin(), groups_.end(),
                                  [](const Group& group) { return !group.cached_tokens.has_value(); });
  for (; waiting < kMaxWaiting && std::ssize(answers_) < n_samples_; ++waiting) {
    further.push_back(&AddGroup());
    AddAnswer(*further.back());
  }
  return further;
}

BatchDraw GenerateState::NextDraw(const Group& group, int64_t n_ahead, Batch& batch) const {
  const Answer& answer = answers_[group.sample];
  const int64_t index = answer.n_tokens + n_ahead;
  BatchDraw draw;
  draw.spec = spec_;
  draw.sample = params().first_sample + group.sample;
  draw.index = static_cast<uint64_t>(index);
  draw.forbidden = index < min_tokens_            ? ForbiddenTokens::kEndsAndStops
                   : params().stopping.ignore_eos ? ForbiddenTokens::kEnds
                                                  : ForbiddenTokens::kNone;
  draw.first_count = static_cast<int64_t>(batch.counts.size());
  draw.n_counts = static_cast<int64_t>(answer.counts.size());
  batch.counts.insert(batch.counts.end(), answer.counts.begin(), answer.counts.end());
  if (has_contexts()) {
    draw.merge = MergePolicy{.params = params().contexts->nbce};
    draw.previous = answer.previous_row;
  }
  return draw;
}

void GenerateState::PrefetchDrawn(const Group& group, const SamplerResult& drawn) const {
  Prefetch(&answers_, &n_ended_);
  const Answer& answer = answers_[group.sample];
  Prefetch(&answer, &answer.counts);
  if (drawn.id >= 0) tokenizer_.PrefetchToken(drawn.id);
}

bool GenerateState::OnDrawn(Group& group, const GroupResult& result, Clock::time_point now) {
  const SamplerResult& drawn = result.drawn;
  Answer& answer = answers_[group.sample];
  if (drawn.id < 0) {
    Finish(FinishReason::kError, NothingToDraw(), now);
    return true;
  }
  if (std::find(stop_ids_.begin(), stop_ids_.end(), drawn.id) != stop_ids_.end()) {
    End(answer, FinishReason::kStop, now);
    return true;
  }
  if (tokenizer_.IsEnd(drawn.id)) {
    End(answer, FinishReason::kEos, now);
    return true;
  }
  CountToken(answer.n_tokens > 0 ? std::optional(now - answer.last_token) : std::nullopt, now);
  if (has_contexts()) Cite(answer, result.choice);
  ++answer.n_tokens;
  answer.last_token = now;
  for (Sequence& row : group.rows) row.tokens.push_back(drawn.id);
  if (spec_->counts_tokens()) {
    const auto [place, is_new] = answer.count_of.try_emplace(drawn.id, answer.counts.size());
    if (is_new) answer.counts.push_back({drawn.id, 0});
    ++answer.counts[place->second].count;
  }
  if (tells_tokens_) {
    ChunkToken token;
    token.id = drawn.id;
    if (spec_->top_logprobs >= 0) token.logprob = drawn.logprob;
    token.top = drawn.top;
    answer.pending.tokens.push_back(std::move(token));
  }
  AppendText(answer, answer.detokenizer.Append(drawn.id));
  if (answer.stop_matcher.stopped()) {
    End(answer, FinishReason::kStop, now);
  } else if (answer.n_tokens == max_tokens_) {
    End(answer, FinishReason::kLength, now);
  } else {
    EmitPending(answer);
  }
  return answer.ended;
}

void GenerateState::Cite(Answer& answer, const MergeChoice& choice) {
  CountChoice(choice, answer.previous_row);
  answer.previous_row = choice.row;
  const size_t document = static_cast<size_t>(choice.row) - 1;
  for (size_t i = 0; i < documents_.size(); ++i) {
    documents_[i].mean_entropy += static_cast<double>(choice.entropies[i + 1]);
  }
  ++documents_[document].tokens;
  Citation citation{document, document < document_ids_.size() ? document_ids_[document] : "", choice.fell_back};
  if (answer.pending.citation.has_value() && *answer.pending.citation != citation) EmitPending(answer);
  answer.pending.citation = answer.cited = std::move(citation);
  if (params().output.entropies) answer.pending.entropies.push_back(choice.entropies);
}

void GenerateState::End(Answer& answer, FinishReason reason, Clock::time_point now) {
  AppendRest(answer);
  answer.ended = true;
  if (n_samples() > 1) answer.pending.ended = reason;
  if (answer.pending.sample == 0) first_reason_ = reason;
  EmitPending(answer);
  if (++n_ended_ == n_samples()) Finish(first_reason_, absl::OkStatus(), now);
}

void GenerateState::AppendText(Answer& answer, const std::string& text) {
  // Stop strings do not end an answer before min_tokens, so they do not see its text.
  answer.pending.text += answer.n_tokens < min_tokens_ ? text : answer.stop_matcher.Append(text);
}

void GenerateState::AppendRest(Answer& answer) {
  if (answer.stop_matcher.stopped()) return;
  AppendText(answer, answer.detokenizer.Finish());
  answer.pending.text += answer.stop_matcher.Finish();
}

void GenerateState::EmitPending(Answer& answer) {
  Chunk& pending = answer.pending;
  if (pending.text.empty() && pending.tokens.empty() && pending.entropies.empty() && !pending.ended.has_value()) return;
  // Held-back text comes after its tokens; it is cited as the last one.
  if (!pending.text.empty() && !pending.citation.has_value()) pending.citation = answer.cited;
  Emit(std::move(pending));
  pending = Chunk{.sample = pending.sample};
}

void GenerateState::OnFinish(Finished& finished) {
  for (Answer& answer : answers_) {
    if (answer.ended) continue;
    AppendRest(answer);
    EmitPending(answer);
  }
  finished.documents = documents_;
  for (DocumentUse& document : finished.documents) {
    if (completion_tokens_ > 0) document.mean_entropy /= static_cast<double>(completion_tokens_);
  }
}

}  // namespace longhaul
