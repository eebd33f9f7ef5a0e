#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/token.h"
#include "engine/decoding/nbce_combiner.h"
#include "engine/decoding/sampler.h"
#include "engine/position/position_mode.h"

// What a caller asks of the engine and what it is told: plain structs, the wire's twins.
namespace longhaul {

using Clock = std::chrono::steady_clock;

struct TextPrompt {
  std::string text;
};  // special tokens in it are plain text
struct TokenPrompt {
  std::vector<TokenId> ids;
};
struct ChatMessage {
  std::string role, content;
};  // role: system, user or assistant
struct ChatPrompt {
  std::vector<ChatMessage> messages;
};
using Prompt = std::variant<TextPrompt, TokenPrompt, ChatPrompt>;

struct Document {
  std::string id;                                           // names it in citations; empty: its index does
  std::variant<std::string, std::vector<TokenId>> content;  // special tokens in a text are plain text
};
// What names a document in citations, `index` being its place. Ids of one request are distinct.
inline std::string IdOf(const Document& document, size_t index) {
  return document.id.empty() ? std::to_string(index) : document.id;
}

struct LongDocument {
  std::string text;
  int64_t window_tokens = 0;              // 0: half of the trained length
  std::optional<int64_t> overlap_tokens;  // not given: an eighth of a window
};

// What is read beside a prompt, each document in a row of its own (NBCE).
struct Contexts {
  std::variant<std::vector<Document>, LongDocument> source;
  NbceParams nbce;
  std::string document_template;   // empty: that of the model's family
  std::optional<Prompt> baseline;  // the row without a document; not given: the template with an empty one
};

struct StoppingParams {
  std::optional<int64_t> max_tokens;    // not given: 256 or min_tokens if more, at most what is left; 0: read only
  int64_t min_tokens = 0;               // no end of any kind before so many
  std::vector<std::string> stop;        // the answer ends before the first of them
  std::vector<TokenId> stop_token_ids;  // the answer ends before such a token
  bool ignore_eos = false;              // end-of-sequence tokens are never drawn
};

struct OutputParams {
  std::optional<int> logprobs;  // not given: none; 0: of the chosen tokens; n: of the n most probable too
  bool token_ids = false;       // chunks carry token ids
  bool progress = false;        // Progress while the prompt is read
  bool entropies = false;       // with contexts: chunks carry those of all rows
};

struct GenerateParams {
  Prompt prompt;  // with contexts: the question
  SamplingParams sampling;
  std::optional<uint64_t> seed;  // not given: drawn; Started tells it
  StoppingParams stopping;
  OutputParams output;
  PositionMode position{};
  std::optional<Contexts> contexts{};
  int64_t samples = 1;        // answers, each drawn for itself
  uint64_t first_sample = 0;  // their numbers begin here; seed and number decide what is drawn
};

struct ScoreParams {
  Prompt prompt;            // the text to score; with contexts: the question
  int64_t from_token = 0;   // the first token whose log-probability is wanted; 0 means 1, the first that has one
  int64_t last_tokens = 0;  // instead of from_token: the last so many tokens; 0 = use from_token
  int top_logprobs = 0;     // of each scored position, 0..20
  PositionMode position{};
  std::optional<Contexts> contexts{};
  std::optional<Prompt>
      answer{};  // with contexts, and only there: what is scored; from_token and last_tokens count in it
};

struct Request {
  std::string id;      // for logs; not necessarily unique
  std::string client;  // who asks
  std::variant<GenerateParams, ScoreParams> params;
  int priority = 0;  // -100..100, larger first
  std::optional<Clock::time_point> deadline;
  std::chrono::milliseconds max_time{0};  // above 0: the deadline is not the client's, but so long after Submit
};

// DEADLINE_EXCEEDED of a request whose deadline has passed: says whose it was.
absl::Status DeadlineError(const Request& request);

// UNAVAILABLE of what is refused, or ended before it was done, because the engine drains; see TryAgainError.
absl::Status DrainingError();
absl::Status DrainedError();

// --- Events of a stream, in order: Started, Progress..., Chunk... or ScoreChunk..., Finished ---

// Bytes of a text.
struct TextRange {
  int64_t first_byte = 0, bytes = 0;
};

struct Started {
  int64_t prompt_tokens = 0;                     // of all rows
  int64_t cached_tokens = 0;                     // of the prompt, that the cache holds when the request arrives
  int64_t max_tokens = 0;                        // what was resolved
  PositionMode position{};                       // the mode in use, every parameter filled in
  int64_t reach = 0;                             // tokens that the plan holds; 0 = no bound
  bool past_recommended = false, refit = false;  // see ResolvedPosition
  uint64_t seed = 0;                             // the one in use
  std::string engine_fingerprint;
  std::vector<TextRange> windows;  // of a long document
};

struct Progress {
  int64_t prefilled_tokens = 0, total_tokens = 0;
};

struct ChunkToken {
  TokenId id = 0;
  std::optional<float> logprob;
  std::vector<TokenLogprob> top;
};

enum class FinishReason { kStop, kLength, kEos, kCancelled, kDeadline, kStalled, kError, kUnavailable };

// Lower-case name: "stop", "length", ...
const char* Name(FinishReason reason);

// The document that an answer's tokens come from.
struct Citation {
  size_t document = 0;     // its index
  std::string id{};        // its id; empty for a window
  bool fell_back = false;  // no token was left that may be drawn, so that the surest row spoke alone
  bool operator==(const Citation&) const = default;
};

struct Chunk {
  std::string text{};                           // whole UTF-8 characters; may be empty
  std::vector<ChunkToken> tokens{};             // those that joined the answer since the last chunk
  size_t sample = 0;                            // which answer, from 0
  std::optional<FinishReason> ended{};          // of several answers: the last chunk of this one, and why it ended
  std::optional<Citation> citation{};           // with contexts: of all its tokens
  std::vector<std::vector<float>> entropies{};  // if asked for: of all rows, for each of its tokens
};

struct ScoredToken {
  float logprob = 0;
  std::vector<TokenLogprob> top;
};

struct ScoreChunk {
  int64_t first_token = 0;  // index in the text of the first of these
  std::vector<ScoredToken> tokens;
};

struct Usage {
  int64_t prompt_tokens = 0, cached_tokens = 0;
  int64_t completion_tokens = 0;  // of all answers
};

// What a document came to in the answers.
struct DocumentUse {
  int64_t tokens = 0;       // that it was chosen for
  double mean_entropy = 0;  // of its row, over all steps; nats
};

// Durations of one request, seconds.
struct Timings {
  double queue = 0;        // from Submit until its first step
  double prefill = 0;      // from then until the prompt was read
  double decode = 0;       // from then until the last token
  double first_token = 0;  // from Submit until the first token
};

struct Finished {
  FinishReason reason = FinishReason::kError;  // where several answers have ended: of the first
  absl::Status status;                         // OK for STOP, LENGTH and EOS alone, and not for what was refused
  bool refused = false;  // nothing was computed: the request itself was wrong, or there was no room for it
  Usage usage{};
  Timings timings{};
  std::vector<DocumentUse> documents{};  // with contexts
  int64_t truncated_tokens = 0;          // of a scored answer, at -infinity
};

using Event = std::variant<Started, Progress, Chunk, ScoreChunk, Finished>;

}  // namespace longhaul
