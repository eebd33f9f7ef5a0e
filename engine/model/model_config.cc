#include "engine/model/model_config.h"

#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"
#include "engine/base/utf8.h"
#include "engine/model/families/family.h"

namespace longhaul {
namespace {

// Bounds later allocations; the largest published models of this kind stay below a quarter of it.
constexpr int64_t kMaxVocabulary = 1 << 20;

// The name is shown to clients, whose messages hold UTF-8 only.
std::string Printable(const std::string& name) {
  constexpr size_t kMaxBytes = 256;
  if (name.size() <= kMaxBytes && FirstInvalidUtf8(name) == name.size()) return name;
  return absl::CHexEscape(name.substr(0, kMaxBytes));
}

// A GGUF file may hold a part of a model, or something that is no language model.
absl::Status RefusePartsAndOthers(const Checkpoint& checkpoint) {
  LH_ASSIGN_OR_RETURN(const std::optional<int64_t> parts, checkpoint.OptionalInteger("split.count"));
  if (parts.value_or(1) > 1) {
    LH_ASSIGN_OR_RETURN(const std::optional<int64_t> part, checkpoint.OptionalInteger("split.no"));
    const std::string which = part && *part >= 0 && *part < *parts ? absl::StrCat("part ", *part + 1, " of ", *parts)
                                                                   : absl::StrCat("one of ", *parts, " parts");
    return absl::InvalidArgumentError(
        absl::StrCat(checkpoint.path(), ": ", which,
                     " of a split model, which is not supported yet: merge them with "
                     "'llama-gguf-split --merge FIRST_PART MERGED' and serve the merged file"));
  }
  LH_ASSIGN_OR_RETURN(const std::optional<std::string> type, checkpoint.OptionalString("general.type"));
  if (type && *type != "model") {
    return absl::InvalidArgumentError(
        absl::StrCat(checkpoint.path(), ": key 'general.type' holds ", Quoted(*type),
                     ", expected 'model': the file is no model but something beside one"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelConfig> ReadModelConfig(const Checkpoint& checkpoint) {
  LH_RETURN_IF_ERROR(RefusePartsAndOthers(checkpoint));
  ModelConfig config;
  LH_ASSIGN_OR_RETURN(config.architecture, checkpoint.String("general.architecture"));
  LH_ASSIGN_OR_RETURN(const std::optional<std::string> name, checkpoint.OptionalString("general.name"));
  config.name = Printable(name.value_or(""));
  LH_ASSIGN_OR_RETURN(const std::vector<std::string>* tokens, checkpoint.Strings("tokenizer.ggml.tokens"));
  config.vocabulary_size = static_cast<int64_t>(tokens->size());
  if (config.vocabulary_size < 1 || config.vocabulary_size > kMaxVocabulary) {
    return absl::InvalidArgumentError(absl::StrCat(checkpoint.path(), ": key 'tokenizer.ggml.tokens' holds ",
                                                   config.vocabulary_size, " tokens, expected 1 to ", kMaxVocabulary));
  }
  const Family* family = FindFamily(config.architecture);
  if (family == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(checkpoint.path(), ": key 'general.architecture' holds ",
                                                   Quoted(config.architecture),
                                                   ", which is not supported: ", SupportedArchitectures()));
  }
  return family->read_config(checkpoint, std::move(config));
}

}  // namespace longhaul
