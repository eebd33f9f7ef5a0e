#include "client/loadgen/workload.h"

#include <algorithm>
#include <set>
#include <string>

#include "proto/position_text.h"

namespace longhaul::loadgen {
namespace {

using Purpose = Random::Purpose;

// Token ids of a text that (seed, purpose, key) stands for, appended until `ids` has `until`.
void Append(const WorkloadOptions& options, Purpose purpose, uint64_t key, int64_t until, v1::TokenIds& ids) {
  Random random(options.seed, purpose, key);
  const auto ends = [&](int64_t id) {
    return std::find(options.end_tokens.begin(), options.end_tokens.end(), id) != options.end_tokens.end();
  };
  while (ids.ids_size() < until) {
    int64_t id = random.Below(options.vocabulary);
    // The next id that is not an end token; gives up after as many tries as there are end tokens.
    for (size_t tries = 0; ends(id) && tries < options.end_tokens.size(); ++tries) id = (id + 1) % options.vocabulary;
    ids.add_ids(static_cast<int32_t>(id));
  }
}

const PositionShare* DrawPosition(const std::vector<PositionShare>& shares, Random random) {
  double rest = random.Uniform();
  for (const PositionShare& share : shares) {
    rest -= share.share;
    if (rest < 0) return &share;
  }
  return shares.empty() ? nullptr : &shares.back();
}

}  // namespace

void Workload::FillPrompt(uint64_t number, const TraceEntry* entry, int64_t tokens, v1::TokenIds& ids) const {
  constexpr int64_t kBlock = 512;
  // The last token is always the request's own.
  const auto until = [&](int64_t wanted) { return std::min(wanted, tokens - 1); };
  if (entry != nullptr) {
    for (const int64_t id : entry->block_ids) {
      Append(options_, Purpose::kSharedTokens, static_cast<uint64_t>(id) + 1, until(ids.ids_size() + kBlock), ids);
    }
  }
  if (Random(options_.seed, Purpose::kPrefix, number).Uniform() < options_.shared_prefix) {
    Append(options_, Purpose::kSharedTokens, 0, until(options_.shared_prefix_tokens), ids);
  }
  Append(options_, Purpose::kTokens, number, tokens, ids);
}

// Distinct ones of the pool, in the order in which they are drawn.
void Workload::FillDocuments(uint64_t number, PlannedRequest& planned) const {
  Random random(options_.seed, Purpose::kNbce, number);
  if (random.Uniform() >= options_.nbce_share) return;
  planned.documents = std::min(options_.documents.Draw(random), options_.document_pool);
  v1::Contexts& contexts = *planned.request.mutable_contexts();
  contexts.set_document_template("{document}{question}");
  std::set<int64_t> chosen;
  while (static_cast<int64_t>(chosen.size()) < planned.documents) {
    const int64_t index = random.Below(options_.document_pool);
    if (!chosen.insert(index).second) continue;
    v1::Document& document = *contexts.mutable_documents()->add_documents();
    document.set_id(std::to_string(index));
    const auto key = static_cast<uint64_t>(index);
    Random length(options_.seed, Purpose::kDocument, key);
    Append(options_, Purpose::kDocument, key, options_.document_tokens.Draw(length), *document.mutable_token_ids());
  }
}

PlannedRequest Workload::Make(uint64_t number) const {
  const WorkloadOptions& o = options_;
  const TraceEntry* const entry = number < o.trace.size() ? &o.trace[number] : nullptr;
  Random lengths(o.seed, Purpose::kLengths, number);
  PlannedRequest planned;
  planned.prompt_tokens = o.prompts.Draw(lengths);
  planned.output_tokens = o.outputs.Draw(lengths);
  if (entry != nullptr) {
    planned.prompt_tokens = entry->prompt_tokens.value_or(planned.prompt_tokens);
    planned.output_tokens = entry->output_tokens.value_or(planned.output_tokens);
  }
  Random cancel(o.seed, Purpose::kCancel, number);
  if (cancel.Uniform() < o.cancel_share) planned.cancel_after = 1 + cancel.Below(planned.output_tokens);

  v1::GenerateRequest& request = planned.request;
  FillPrompt(number, entry, planned.prompt_tokens, *request.mutable_prompt()->mutable_token_ids());
  FillDocuments(number, planned);
  request.mutable_stopping()->set_max_tokens(static_cast<uint32_t>(planned.output_tokens));
  request.mutable_stopping()->set_ignore_eos(true);
  request.mutable_output()->set_token_ids(true);  // they say how many tokens a chunk holds
  if (entry != nullptr && !entry->position.empty()) {
    *request.mutable_position() = ParsePosition(entry->position).value_or(v1::PositionMode());
  } else if (const PositionShare* share = DrawPosition(o.positions, Random(o.seed, Purpose::kPosition, number))) {
    *request.mutable_position() = share->position;
  }
  if (request.has_position()) planned.position = PositionText(request.position());
  return planned;
}

}  // namespace longhaul::loadgen
