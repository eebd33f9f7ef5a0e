#include "engine/prepare/request_preparer.h"

#include <algorithm>
#include <iterator>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/field_error.h"
#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"
#include "engine/running/generate_state.h"
#include "engine/running/score_state.h"

namespace longhaul {
namespace {

constexpr int64_t kDefaultMaxTokens = 256;

uint64_t DrawSeed() {
  static thread_local std::mt19937_64 generator{std::random_device{}()};
  return generator();
}

// Blocks that rows take when each has grown by `n` tokens, near rings included.
int64_t BlocksWhenGrown(const CacheGeometry& geometry, const PromptRows& rows, int64_t n) {
  int64_t blocks = 0;
  for (const PromptRows::Row& row : rows.rows) {
    const int64_t length = std::ssize(row.tokens) + n;
    blocks += geometry.BlocksFor(length) + geometry.RingBlocks(*row.plan, length);
  }
  return blocks;
}

// By how many tokens each row can grow, at most `most`, until they take more than the whole cache together; -1: they do
// so already.
int64_t GrowthWithin(const CacheGeometry& geometry, const PromptRows& rows, int64_t most) {
  int64_t fits = -1, too_much = most + 1;
  while (too_much - fits > 1) {
    const int64_t growth = (fits + too_much) / 2;
    (BlocksWhenGrown(geometry, rows, growth) <= geometry.n_blocks ? fits : too_much) = growth;
  }
  return fits;
}

// What a row of several is called in messages, and its field.
struct RowName {
  std::string field, name;
};

RowName NameRow(const PromptRows& rows, size_t row) {
  if (row == 0) return {"contexts.baseline", "the row without a document"};
  if (row - 1 >= rows.document_ids.size()) return {"contexts.long_document", absl::StrCat("window ", row - 1)};
  return {absl::StrCat("contexts.documents[", row - 1, "]"), Quoted(rows.document_ids[row - 1])};
}

// Known before anything is tokenized; windows are not.
int64_t CountDocuments(const std::optional<Contexts>& contexts) {
  if (!contexts.has_value()) return 0;
  const auto* documents = std::get_if<std::vector<Document>>(&contexts->source);
  return documents != nullptr ? std::ssize(*documents) : 1;
}

void DescribePosition(const ResolvedPosition& position, Started& started) {
  started.position = position.mode;
  started.reach = position.reach.value_or(0);
  started.past_recommended = position.past_recommended;
  started.refit = position.refit;
}

}  // namespace

RequestPreparer::Room RequestPreparer::MaxTokensInAnyMode() const {
  if (limits_.max_request_tokens > 0 && limits_.max_request_tokens < cache_tokens()) {
    return {limits_.max_request_tokens, "the server's bound (--max-request-tokens)", Rejection::kTooLong};
  }
  return {cache_tokens(), "what the KV cache holds (--kv-cache-memory)", Rejection::kNoBlocks};
}

absl::Status RequestPreparer::TooLong(const Room& room, absl::Status status) const {
  context_.telemetry.rejections[room.rejection].Add();
  return status;
}

absl::Status RequestPreparer::CheckWanted(const Request& request, const EventStream& stream) const {
  if (request.deadline.has_value() && *request.deadline <= time_.Now()) {
    return DeadlineError(request);
  }
  if (stream.cancelled()) return absl::CancelledError("the request was cancelled");
  return gives_up() ? DrainedError() : absl::OkStatus();
}

absl::StatusOr<std::vector<TokenId>> RequestPreparer::EncodePrompt(const Prompt& prompt,
                                                                   const StopCondition& stopped) const {
  const Room room = MaxTokensInAnyMode();
  if (absl::Status status = encoder_.CheckLength(prompt, room.tokens, room.limit); !status.ok()) {
    return TooLong(room, std::move(status));
  }
  return encoder_.Encode(prompt, /*parse_special=*/false, stopped);
}

// It follows a text, so it has no beginning of its own.
absl::StatusOr<std::vector<TokenId>> RequestPreparer::EncodeAnswer(const Prompt& answer,
                                                                   const StopCondition& stopped) const {
  const Room room = MaxTokensInAnyMode();
  if (absl::Status status = encoder_.CheckLength(answer, room.tokens, room.limit, "answer"); !status.ok()) {
    return TooLong(room, std::move(status));
  }
  if (const auto* ids = std::get_if<TokenPrompt>(&answer)) {
    LH_RETURN_IF_ERROR(encoder_.CheckIds("answer.token_ids.ids", ids->ids));
    return ids->ids;
  }
  auto encoded = encoder_.tokenizer().Encode(std::get<TextPrompt>(answer).text, /*parse_special=*/false,
                                             /*add_bos=*/false, stopped);
  if (!encoded.ok()) return AtField("answer.text", encoded.status());
  return encoded;
}

// The texts go once their tokens are there.
absl::StatusOr<RequestPreparer::Texts> RequestPreparer::TakeTexts(Request& request, const EventStream& stream) const {
  const StopCondition stopped = [&] { return !CheckWanted(request, stream).ok(); };
  Prompt& prompt = std::visit([](auto& params) -> Prompt& { return params.prompt; }, request.params);
  std::optional<Contexts>& contexts =
      std::visit([](auto& params) -> std::optional<Contexts>& { return params.contexts; }, request.params);
  Texts texts;
  absl::Status status;
  if (contexts.has_value()) {
    status = EncodeContexts(*contexts, prompt, stopped, texts);
    contexts->source = std::vector<Document>();
    contexts->baseline.reset();
  } else {
    auto ids = EncodePrompt(prompt, stopped);
    status = ids.status();
    if (ids.ok()) texts.rows.push_back(*std::move(ids));
  }
  LH_RETURN_IF_ERROR(CheckWanted(request, stream));
  LH_RETURN_IF_ERROR(status);
  prompt = Prompt();
  return texts;
}

absl::Status RequestPreparer::EncodeContexts(const Contexts& contexts, const Prompt& question,
                                             const StopCondition& stopped, Texts& texts) const {
  const Room room = MaxTokensInAnyMode();
  if (absl::Status status = documents_.CheckLength(contexts, question, room.tokens, room.tokens, room.limit);
      !status.ok()) {
    return TooLong(room, std::move(status));
  }
  LH_ASSIGN_OR_RETURN(ContextRows rows, documents_.Encode(contexts, question, stopped, room.tokens, room.limit));
  texts.rows = std::move(rows.rows);
  texts.windows = std::move(rows.windows);
  if (const auto* documents = std::get_if<std::vector<Document>>(&contexts.source)) {
    for (size_t i = 0; i < documents->size(); ++i) texts.document_ids.push_back(IdOf((*documents)[i], i));
  }
  return absl::OkStatus();
}

absl::Status RequestPreparer::CheckRows(int64_t documents, int64_t samples) const {
  if (documents == 0 && samples > limits_.max_rows) {
    return NotAllowed("samples", samples,
                      absl::StrCat("at most ", limits_.max_rows, ", the rows that can run at a time (--max-rows)"));
  }
  if ((documents + 1) <= limits_.max_rows / samples) return absl::OkStatus();
  return FieldError(
      "contexts", absl::StrCat(documents, " documents and the row without one",
                               samples > 1 ? absl::StrCat(", ", samples, " samples each,") : "", " are more than the ",
                               limits_.max_rows, " rows that can run at a time (--max-rows)"));
}

// One mode for all rows, each fitted by its own length.
absl::StatusOr<RequestPreparer::Planned> RequestPreparer::Plan(Texts texts, const PositionMode& mode,
                                                               int64_t new_tokens) const {
  Planned planned;
  planned.rows.document_ids = std::move(texts.document_ids);
  planned.windows = std::move(texts.windows);
  size_t longest = 0;
  for (std::vector<TokenId>& tokens : texts.rows) {
    const int64_t length = std::ssize(tokens);
    LH_ASSIGN_OR_RETURN(ResolvedPosition position, positions_.Resolve(mode, length + new_tokens));
    planned.rows.rows.push_back({std::move(tokens), plans_.Intern(position.plan), position.reach});
    if (planned.rows.rows.size() > 1 && length <= std::ssize(planned.rows.rows[longest].tokens)) continue;
    longest = planned.rows.rows.size() - 1;
    planned.longest = std::move(position);
  }
  return planned;
}

RequestPreparer::Growth RequestPreparer::MaxGrowth(const Planned& planned) const {
  const std::vector<PromptRows::Row>& rows = planned.rows.rows;
  const PositionMode& mode = planned.longest.mode;
  Growth growth{INT64_MAX / 2, 0, {INT64_MAX, "", Rejection::kTooLong}};
  for (size_t r = 0; r < rows.size(); ++r) {
    const std::optional<int64_t>& reach = rows[r].reach;
    if (mode.allow_beyond_reach || !reach.has_value()) continue;
    const int64_t left = *reach - std::ssize(rows[r].tokens);
    if (left >= growth.tokens) continue;
    growth = {left,
              r,
              {*reach,
               absl::StrCat("what position mode ", Name(mode), " reaches here (trained for ", mode.trained_length,
                            " tokens)"),
               Rejection::kTooLong}};
  }
  const int64_t n_rows = std::ssize(rows), tokens = planned.rows.n_tokens();
  const int64_t cached = GrowthWithin(context_.pool.geometry(), planned.rows, std::min(growth.tokens, cache_tokens()));
  if (cached < growth.tokens) {
    growth = {cached,
              std::nullopt,
              {n_rows == 1 && cached >= 0 ? tokens + cached : cache_tokens(),
               "what the KV cache holds (--kv-cache-memory)", Rejection::kNoBlocks}};
  }
  const int64_t spare = limits_.max_request_tokens - tokens;
  if (const int64_t allowed = spare < 0 ? -1 : spare / n_rows;
      limits_.max_request_tokens > 0 && allowed < growth.tokens) {
    growth = {allowed,
              std::nullopt,
              {limits_.max_request_tokens, "the server's bound (--max-request-tokens)", Rejection::kTooLong}};
  }
  return growth;
}

absl::Status RequestPreparer::TooLongToAnswer(const Planned& planned, const Growth& growth, const char* field,
                                              int64_t new_tokens) const {
  const std::vector<PromptRows::Row>& rows = planned.rows.rows;
  const auto exceed = [&](const std::string& what) {
    return absl::StrCat(what, " and ", new_tokens, " of the answer exceed ", growth.room.tokens, ", ",
                        growth.room.limit);
  };
  if (rows.size() == 1) {
    return TooLong(growth.room,
                   FieldError(field, exceed(absl::StrCat("the prompt's ", rows.front().tokens.size(), " tokens"))));
  }
  if (growth.row.has_value()) {
    const RowName row = NameRow(planned.rows, *growth.row);
    return TooLong(growth.room,
                   FieldError(row.field, exceed(absl::StrCat(row.name, ", with the question, has ",
                                                             rows[*growth.row].tokens.size(), " tokens, which"))));
  }
  size_t longest = 0;
  for (size_t r = 0; r < rows.size(); ++r) {
    if (rows[r].tokens.size() > rows[longest].tokens.size()) longest = r;
  }
  const RowName row = NameRow(planned.rows, longest);
  return TooLong(growth.room,
                 FieldError("contexts", absl::StrCat(exceed(absl::StrCat("the ", planned.rows.n_tokens(), " tokens of ",
                                                                         rows.size(), " rows")),
                                                     " (in each row; the longest is ", row.field, ": ", row.name,
                                                     ", of ", rows[longest].tokens.size(), " tokens)")));
}

absl::StatusOr<std::unique_ptr<RequestState>> RequestPreparer::Prepare(Arrival arrival) const {
  LH_RETURN_IF_ERROR(CheckWanted(arrival.request, *arrival.stream));
  const auto* score = std::get_if<ScoreParams>(&arrival.request.params);
  if (score == nullptr) return PrepareGenerate(std::move(arrival));
  return score->contexts.has_value() ? PrepareContextScore(std::move(arrival)) : PrepareScore(std::move(arrival));
}

absl::StatusOr<RequestParts> RequestPreparer::Enqueue(Arrival arrival, Started started, PromptRows rows,
                                                      int64_t samples) const {
  LH_RETURN_IF_ERROR(arrival.record->Enqueue(started.position, std::ssize(rows.rows) * samples,
                                             rows.n_tokens() * samples, arrival.retry_after()));
  return RequestParts{std::move(arrival.request), std::move(arrival.stream), std::move(arrival.record),
                      arrival.submitted,          std::move(started),        std::move(rows)};
}

Started RequestPreparer::Describe(const Planned& planned) const {
  Started started;
  started.prompt_tokens = planned.rows.n_tokens();
  started.windows = planned.windows;
  started.engine_fingerprint = limits_.engine_fingerprint;
  DescribePosition(planned.longest, started);
  return started;
}

absl::StatusOr<std::unique_ptr<RequestState>> RequestPreparer::PrepareGenerate(Arrival arrival) const {
  const auto& params = std::get<GenerateParams>(arrival.request.params);
  LH_RETURN_IF_ERROR(encoder_.CheckIds("stopping.stop_token_ids", params.stopping.stop_token_ids));
  for (const auto& [id, bias] : params.sampling.logit_bias) {
    LH_RETURN_IF_ERROR(encoder_.CheckId("sampling.logit_bias", id));
  }
  LH_RETURN_IF_ERROR(CheckRows(CountDocuments(params.contexts), params.samples));
  LH_ASSIGN_OR_RETURN(Texts texts, TakeTexts(arrival.request, *arrival.stream));
  LH_RETURN_IF_ERROR(CheckRows(std::ssize(texts.rows) - 1, params.samples));
  const int64_t wanted = params.stopping.max_tokens.value_or(std::max(kDefaultMaxTokens, params.stopping.min_tokens));
  LH_ASSIGN_OR_RETURN(Planned planned, Plan(std::move(texts), params.position, wanted));
  const Growth growth = MaxGrowth(planned);
  const int64_t max_tokens =
      params.stopping.max_tokens.value_or(std::clamp<int64_t>(growth.tokens, 1, std::max<int64_t>(wanted, 1)));
  if (max_tokens > growth.tokens) {
    return TooLongToAnswer(planned, growth, "stopping.max_tokens", max_tokens);
  }
  if (params.stopping.min_tokens > max_tokens) {
    return TooLong(growth.room,
                   FieldError("stopping.min_tokens",
                              absl::StrCat(params.stopping.min_tokens, " is more than the ", max_tokens,
                                           " tokens that the answer may have; the prompt has ", planned.rows.n_tokens(),
                                           ", and ", growth.room.tokens, " is ", growth.room.limit)));
  }
  Started started = Describe(planned);
  started.max_tokens = max_tokens;
  started.seed = params.seed.has_value() ? *params.seed : DrawSeed();
  const int64_t samples = params.samples;
  LH_ASSIGN_OR_RETURN(RequestParts parts,
                      Enqueue(std::move(arrival), std::move(started), std::move(planned.rows), samples));
  return std::make_unique<GenerateState>(std::move(parts), context_, encoder_.tokenizer());
}

absl::StatusOr<int64_t> RequestPreparer::FirstScored(const ScoreParams& params, int64_t n, int64_t least) const {
  if (params.from_token >= n) {
    return FieldError("from_token", absl::StrCat(params.from_token, " is past the text's last token, ", n - 1));
  }
  if (params.last_tokens > n - least) {
    return FieldError("last_tokens", absl::StrCat(params.last_tokens, " of a text of ", n, " tokens; at most ",
                                                  n - least, " have a context"));
  }
  return params.last_tokens > 0 ? n - params.last_tokens : std::max(params.from_token, least);
}

absl::StatusOr<std::unique_ptr<RequestState>> RequestPreparer::PrepareScore(Arrival arrival) const {
  const auto& params = std::get<ScoreParams>(arrival.request.params);
  LH_ASSIGN_OR_RETURN(Texts texts, TakeTexts(arrival.request, *arrival.stream));
  const int64_t n = std::ssize(texts.rows.front());
  if (n < 2) {
    return FieldError("prompt", absl::StrCat("the text has ", n,
                                             " token; a score needs at least 2, because the first has no context"));
  }
  LH_ASSIGN_OR_RETURN(Planned planned, Plan(std::move(texts), params.position, 0));
  if (const Growth growth = MaxGrowth(planned); growth.tokens < 0) {
    return TooLong(growth.room, FieldError("prompt", absl::StrCat("the text's ", n, " tokens exceed ",
                                                                  growth.room.tokens, ", ", growth.room.limit)));
  }
  LH_ASSIGN_OR_RETURN(const int64_t first_token, FirstScored(params, n, 1));
  Started started = Describe(planned);
  LH_ASSIGN_OR_RETURN(RequestParts parts, Enqueue(std::move(arrival), std::move(started), std::move(planned.rows), 1));
  return std::make_unique<ScoreState>(std::move(parts), context_, first_token);
}

absl::StatusOr<std::unique_ptr<RequestState>> RequestPreparer::PrepareContextScore(Arrival arrival) const {
  auto& params = std::get<ScoreParams>(arrival.request.params);
  LH_RETURN_IF_ERROR(CheckRows(CountDocuments(params.contexts), 1));
  LH_ASSIGN_OR_RETURN(Texts texts, TakeTexts(arrival.request, *arrival.stream));
  LH_RETURN_IF_ERROR(CheckRows(std::ssize(texts.rows) - 1, 1));
  auto encoded = EncodeAnswer(*params.answer, [&] { return !CheckWanted(arrival.request, *arrival.stream).ok(); });
  LH_RETURN_IF_ERROR(CheckWanted(arrival.request, *arrival.stream));
  LH_ASSIGN_OR_RETURN(std::vector<TokenId> answer, std::move(encoded));
  params.answer.reset();
  const int64_t n = std::ssize(answer);
  LH_ASSIGN_OR_RETURN(Planned planned, Plan(std::move(texts), params.position, n));
  if (const Growth growth = MaxGrowth(planned); n > growth.tokens) {
    return TooLongToAnswer(planned, growth, "answer", n);
  }
  LH_ASSIGN_OR_RETURN(const int64_t first_token, FirstScored(params, n, 0));
  Started started = Describe(planned);
  LH_ASSIGN_OR_RETURN(RequestParts parts, Enqueue(std::move(arrival), std::move(started), std::move(planned.rows), 1));
  return std::make_unique<ContextScoreState>(std::move(parts), context_, std::move(answer), first_token);
}

}  // namespace longhaul
