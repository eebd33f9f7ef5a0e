#include "engine/running/generate_state.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "engine/base/prefetch.h"

namespace longhaul {

GenerateState::GenerateState(Request request, std::shared_ptr<EventStream> stream, Clock::time_point submitted,
                             Started started, PromptRows rows, const Tokenizer& tokenizer, BlockPool& pool)
    : RequestState(std::move(request), std::move(stream), submitted, started, std::move(rows), pool),
      tokenizer_(tokenizer),
      stop_ids_(params().stopping.stop_token_ids),
      max_tokens_(started.max_tokens),
      min_tokens_(params().stopping.min_tokens),
      n_samples_(params().samples),
      tells_tokens_(params().output.token_ids || params().output.logprobs.has_value()) {
  sampler_.params = params().sampling;
  sampler_.params.seed = started.seed;
  sampler_.top_logprobs = params().output.logprobs.value_or(-1);
  counts_tokens_ = sampler_.params.repetition_penalty != 1 || sampler_.params.presence_penalty != 0 ||
                   sampler_.params.frequency_penalty != 0;
  Group& group = groups_.front();
  // With contexts the penalties count the answer alone.
  if (counts_tokens_ && !has_contexts()) {
    auto counts = std::make_shared<TokenCounts>();
    for (TokenId id : group.rows.front().tokens) ++(*counts)[id];
    sampler_.prompt_counts = std::move(counts);
  }
  if (has_contexts()) documents_.resize(group.rows.size() - 1);
  AddAnswer(group);
}

void GenerateState::AddAnswer(Group& group) {
  Answer& answer = answers_.emplace_back(tokenizer_, params().stopping.stop);
  answer.sampler = sampler_;
  answer.sampler.sample = params().first_sample + group.sample;
  answer.pending.sample = group.sample;
  group.max_new_tokens = max_tokens_;
  if (max_tokens_ == 0) return;
  group.sampler = &answer.sampler;
  if (!has_contexts()) return;
  answer.nbce.params = params().contexts->nbce;
  group.nbce = &answer.nbce;
}

std::vector<Group*> GenerateState::MakeFurtherGroups() {
  std::vector<Group*> further;
  if (std::ssize(answers_) >= n_samples_ || !groups_.front().prompt_read || finished()) return further;
  // Each copies the prompt: no more than a few wait for their first step.
  constexpr int64_t kMaxWaiting = 8;
  int64_t waiting = std::count_if(groups_.begin(), groups_.end(),
                                  [](const Group& group) { return !group.cached_tokens.has_value(); });
  for (; waiting < kMaxWaiting && std::ssize(answers_) < n_samples_; ++waiting) {
    further.push_back(&AddGroup());
    AddAnswer(*further.back());
  }
  return further;
}

void GenerateState::PrepareSampler(Group& group) {
  Answer& answer = answers_[group.sample];
  const StoppingParams& stopping = params().stopping;
  answer.sampler.index = static_cast<uint64_t>(answer.n_tokens);
  answer.sampler.forbidden.clear();
  const bool too_early = answer.n_tokens < stopping.min_tokens;
  if (too_early || stopping.ignore_eos) answer.sampler.forbidden = tokenizer_.end_tokens();
  if (too_early) {
    answer.sampler.forbidden.insert(answer.sampler.forbidden.end(), stopping.stop_token_ids.begin(),
                                    stopping.stop_token_ids.end());
  }
}

void GenerateState::PrefetchSampled(const Group& group, const SamplerResult& sampled) const {
  Prefetch(&answers_, &n_ended_);
  const Answer& answer = answers_[group.sample];
  Prefetch(&answer, &answer.sampler);
  if (sampled.id >= 0) tokenizer_.PrefetchToken(sampled.id);
}

bool GenerateState::OnSampled(Group& group, const SamplerResult& sampled, const NbceChoice& choice,
                              Clock::time_point now) {
  Answer& answer = answers_[group.sample];
  if (sampled.id < 0) {
    Finish(FinishReason::kError, NothingToDraw(), now);
    return true;
  }
  if (std::find(stop_ids_.begin(), stop_ids_.end(), sampled.id) != stop_ids_.end()) {
    End(answer, FinishReason::kStop, now);
    return true;
  }
  if (tokenizer_.IsEnd(sampled.id)) {
    End(answer, FinishReason::kEos, now);
    return true;
  }
  CountToken(answer.n_tokens > 0 ? std::optional(now - answer.last_token) : std::nullopt, now);
  if (has_contexts()) Cite(answer, choice);
  ++answer.n_tokens;
  answer.last_token = now;
  for (Sequence& row : group.rows) row.tokens.push_back(sampled.id);
  if (counts_tokens_) ++answer.sampler.answer_counts[sampled.id];
  if (tells_tokens_) {
    ChunkToken token;
    token.id = sampled.id;
    if (answer.sampler.top_logprobs >= 0) token.logprob = sampled.logprob;
    token.top = sampled.top;
    answer.pending.tokens.push_back(std::move(token));
  }
  AppendText(answer, answer.detokenizer.Append(sampled.id));
  if (answer.stop_matcher.stopped()) {
    End(answer, FinishReason::kStop, now);
  } else if (answer.n_tokens == max_tokens_) {
    End(answer, FinishReason::kLength, now);
  } else {
    EmitPending(answer);
  }
  return answer.ended;
}

void GenerateState::Cite(Answer& answer, const NbceChoice& choice) {
  CountChoice(choice, answer.nbce.previous);
  answer.nbce.previous = choice.row;
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
  // Before min_tokens nothing ends the answer, so the stop strings do not see its text.
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
  // Text that was held back comes after its tokens.
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
