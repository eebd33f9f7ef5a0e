#include "client/evaluation/passkey.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/mix64.h"
#include "engine/base/status_macros.h"

namespace longhaul {
namespace {

constexpr uint32_t kAnswerTokens = 8;
constexpr char kOpening[] =
    "There is an important number hidden in a lot of irrelevant text. Find it and remember it.\n";
constexpr char kSentences[] =
    "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.\n";
constexpr char kQuestion[] = "\nWhat is the pass key? The pass key is";

std::string KeySentence(const std::string& key) {
  return absl::StrCat("\nThe pass key is ", key, ". Remember it. ", key, " is the pass key.\n");
}

// SplitMix64's output function.
uint64_t Mix(uint64_t x) {
  return Mix64(x + 0x9e3779b97f4a7c15);
}

absl::StatusOr<std::vector<int32_t>> Segment(Client& client, const std::string& text, bool has_bos) {
  LH_ASSIGN_OR_RETURN(std::vector<int32_t> tokens, TokensOf(client, text));
  if (has_bos) tokens.erase(tokens.begin());
  return tokens;
}

}  // namespace

std::string Passkey::KeyOf(int64_t seed, int64_t length, const Repetition& sample) {
  uint64_t hash = 0;
  for (const int64_t part : {seed, length, sample.depth, sample.trial}) hash = Mix(hash ^ static_cast<uint64_t>(part));
  return std::to_string(10000 + hash % 90000);
}

std::string Passkey::FirstNumber(const std::string& answer) {
  const char* const digits = "0123456789";
  const size_t begin = answer.find_first_of(digits);
  if (begin == std::string::npos) return "";
  return answer.substr(begin, answer.find_first_not_of(digits, begin) - begin);
}

absl::StatusOr<Passkey> Passkey::Make(Client& client, const Text* text, PasskeyOptions options) {
  Passkey task;
  task.text_ = text;
  task.options_ = std::move(options);
  LH_ASSIGN_OR_RETURN(task.bos_, FindBos(client));
  const bool has_bos = task.bos_.has_value();
  LH_ASSIGN_OR_RETURN(task.opening_, Segment(client, kOpening, has_bos));
  if (has_bos) task.opening_.insert(task.opening_.begin(), *task.bos_);
  LH_ASSIGN_OR_RETURN(task.sentences_, Segment(client, kSentences, has_bos));
  LH_ASSIGN_OR_RETURN(task.question_, Segment(client, kQuestion, has_bos));
  LH_ASSIGN_OR_RETURN(const auto key, Segment(client, KeySentence("88888"), has_bos));
  task.key_tokens_ = static_cast<int64_t>(key.size()) + 10;  // a key may take a token for each digit, twice
  return task;
}

absl::Status Passkey::CheckLength(int64_t length) const {
  const int64_t least = static_cast<int64_t>(opening_.size() + question_.size() + sentences_.size()) + key_tokens_ +
                        static_cast<int64_t>(kAnswerTokens);
  if (length < least) {
    return absl::InvalidArgumentError(
        absl::StrCat("--lengths: ", length, " is not allowed with --task passkey, whose question needs ", least));
  }
  if (text_ != nullptr && text_->size() < length) {
    return absl::InvalidArgumentError(
        absl::StrCat("--lengths: ", length, " is longer than --text, ", text_->size(), " tokens"));
  }
  return absl::OkStatus();
}

std::vector<Repetition> Passkey::Repetitions() const {
  std::vector<Repetition> samples;
  for (const int64_t depth : options_.depths) {
    for (int64_t trial = 0; trial < options_.trials; ++trial) samples.push_back({.depth = depth, .trial = trial});
  }
  return samples;
}

// The classic sentences are whole but for the first, which is cut at its beginning.
std::vector<int32_t> Passkey::Filler(int64_t n) const {
  if (text_ != nullptr) return {text_->tokens.end() - n, text_->tokens.end()};
  std::vector<int32_t> filler(static_cast<size_t>(n));
  const size_t period = sentences_.size();
  for (size_t i = 0; i < filler.size(); ++i) {
    filler[filler.size() - 1 - i] = sentences_[period - 1 - i % period];
  }
  return filler;
}

int64_t Passkey::Place(int64_t n, int64_t depth) const {
  const int64_t place = n * depth / 100;
  if (text_ != nullptr) return place;
  const auto period = static_cast<int64_t>(sentences_.size());
  const int64_t from_end = (n - place) / period * period;
  return depth == 0 ? 0 : n - from_end;
}

absl::Status Passkey::Run(Client& client, const v1::PositionMode& position, const OnProgress& on_progress,
                          Measurement& done) const {
  done.key = KeyOf(options_.seed, done.length, done.sample);
  LH_ASSIGN_OR_RETURN(const auto key, Segment(client, KeySentence(done.key), bos_.has_value()));
  const auto rest = static_cast<int64_t>(opening_.size() + key.size() + question_.size() + kAnswerTokens);
  const int64_t n_filler = done.length - rest;
  const std::vector<int32_t> filler = Filler(n_filler);
  const int64_t place = Place(n_filler, done.sample.depth);
  std::vector<int32_t> tokens = opening_;
  const auto append = [&](auto begin, auto end) { tokens.insert(tokens.end(), begin, end); };
  append(filler.begin(), filler.begin() + place);
  append(key.begin(), key.end());
  append(filler.begin() + place, filler.end());
  append(question_.begin(), question_.end());
  LH_ASSIGN_OR_RETURN(done.answer, Continue(client, tokens, position, kAnswerTokens, on_progress, done));
  done.value = FirstNumber(done.answer) == done.key ? 1 : 0;
  return absl::OkStatus();
}

std::string Passkey::Describe(const Measurement& done) const {
  return absl::StrCat(done.key, done.value > 0 ? " found" : " not found");
}

}  // namespace longhaul
