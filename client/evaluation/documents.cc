#include "client/evaluation/documents.h"

#include <algorithm>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/io/files.h"
#include "engine/base/status_macros.h"

namespace longhaul {
namespace {

constexpr uint32_t kAnswerTokens = 24;
constexpr int64_t kHashedDocuments = 16;

const std::map<std::string, v1::Pooling> kPoolings = {
    {"min-entropy", v1::POOLING_MIN_ENTROPY}, {"mean", v1::POOLING_MEAN}, {"max", v1::POOLING_MAX}};

absl::Status SetParameter(const std::string& piece, v1::Nbce& nbce) {
  const std::pair<std::string, std::string> parts = absl::StrSplit(piece, absl::MaxSplits('=', 1));
  const auto& [name, value] = parts;
  float number = 0;
  const bool is_number = absl::SimpleAtof(value, &number);
  if (const auto pooling = kPoolings.find(value); name == "pooling" && pooling != kPoolings.end()) {
    nbce.set_pooling(pooling->second);
  } else if (name == "beta" && is_number) {
    nbce.set_beta(number);
  } else if (name == "eta" && is_number) {
    nbce.set_eta(number);
  } else if (name == "keep" && is_number) {
    nbce.set_top_p(number);
  } else {
    return absl::InvalidArgumentError(absl::StrCat(
        "--nbce: '", piece, "' is not allowed; default, beta=X, eta=X, keep=X or pooling=min-entropy, mean or max"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<NbceSetting>> ParseNbceSettings(const std::string& text) {
  std::vector<NbceSetting> settings;
  for (const std::string& words : std::vector<std::string>(absl::StrSplit(text, ',', absl::SkipEmpty()))) {
    NbceSetting setting("nbce", {});
    if (words != "default") {
      absl::StrAppend(&setting.first, ":", words);
      for (const std::string& piece : std::vector<std::string>(absl::StrSplit(words, ':'))) {
        LH_RETURN_IF_ERROR(SetParameter(piece, setting.second));
      }
    }
    const bool is_new =
        std::none_of(settings.begin(), settings.end(), [&](const NbceSetting& s) { return s.first == setting.first; });
    if (is_new) settings.push_back(std::move(setting));
  }
  return settings;
}

Documents::Documents(DocumentsOptions options, const std::vector<int64_t>& lengths) : options_(std::move(options)) {
  int64_t length = kHashedDocuments;
  for (const int64_t n : lengths) length = std::max(length, ShelfLength(options_.questions, std::max<int64_t>(n, 1)));
  shelf_ = MakeShelf(options_.seed, std::min(length, kMaxShelfDocuments));
}

absl::Status Documents::CheckLength(int64_t length) const {
  const int64_t needed = ShelfLength(options_.questions, std::max<int64_t>(length, 1));
  if (needed <= static_cast<int64_t>(shelf_.size())) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("--documents: ", length, " is not allowed with --questions ",
                                                 options_.questions, ", which need ", needed,
                                                 " documents together; at most ", kMaxShelfDocuments));
}

std::vector<Repetition> Documents::Repetitions() const {
  std::vector<Repetition> samples;
  for (int64_t question = 0; question < options_.questions; ++question) samples.push_back({.trial = question});
  return samples;
}

absl::Status Documents::Run(Client& client, const v1::PositionMode& position, const OnProgress& on_progress,
                            Measurement& done) const {
  const int64_t right = DocumentOf(done.sample.trial);
  const int64_t first = done.length == 0 ? right : FirstBeside(right, done.length);
  const ShelfDocument& asked = shelf_[static_cast<size_t>(right)];
  const auto setting = std::find_if(options_.nbce.begin(), options_.nbce.end(),
                                    [&](const NbceSetting& s) { return s.first == done.position; });
  const bool is_nbce = setting != options_.nbce.end();

  v1::GenerateRequest request;
  request.mutable_stopping()->set_max_tokens(kAnswerTokens);
  std::string text;
  for (int64_t i = first; i < first + done.length; ++i) {
    const std::string& document = shelf_[static_cast<size_t>(i)].text;
    if (is_nbce) {
      v1::Document& added = *request.mutable_contexts()->mutable_documents()->add_documents();
      added.set_id(absl::StrCat(i));
      added.set_text(document);
    } else {
      absl::StrAppend(&text, document, "\n\n");
    }
  }
  if (is_nbce) {
    *request.mutable_contexts()->mutable_nbce() = setting->second;
    request.mutable_prompt()->set_text(asked.question);
  } else {
    *request.mutable_position() = position;
    v1::Message& message = *request.mutable_prompt()->mutable_chat()->add_messages();
    message.set_role("user");
    message.set_content(absl::StrCat(text, asked.question));
  }

  v1::Finished finished;
  LH_ASSIGN_OR_RETURN(done.answer, Generate(
                                       client, request,
                                       [&](int64_t read) {
                                         // The cost of a cell is told by its documents, not by its tokens.
                                         return on_progress(read * done.length / std::max<int64_t>(1, done.tokens));
                                       },
                                       done, finished));
  done.key = asked.answer;
  done.value = IsAnswered(done.answer, asked.answer) ? 1 : 0;
  if (is_nbce) done.cited = Cited(finished) == right - first ? 1 : 0;
  return absl::OkStatus();
}

std::string Documents::Describe(const Measurement& done) const {
  return absl::StrCat(done.key, done.value > 0 ? " answered" : " not answered",
                      done.cited.has_value() ? (*done.cited > 0 ? ", cited" : ", another document cited") : "");
}

std::string Documents::Sha256() const {
  std::string text;
  for (size_t i = 0; i < kHashedDocuments; ++i) {
    absl::StrAppend(&text, shelf_[i].text, "\n", shelf_[i].question, "\n", shelf_[i].answer, "\n");
  }
  return longhaul::Sha256(text);
}

bool Documents::IsAnswered(const std::string& generated, const std::string& answer) {
  return absl::StrContains(absl::AsciiStrToLower(generated), absl::AsciiStrToLower(answer));
}

int64_t Documents::Cited(const v1::Finished& finished) {
  const auto& documents = finished.documents();
  const auto most =
      std::max_element(documents.begin(), documents.end(),
                       [](const v1::DocumentUse& a, const v1::DocumentUse& b) { return a.tokens() < b.tokens(); });
  return most - documents.begin();
}

}  // namespace longhaul
