#include "engine/model/families/keys.h"

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace longhaul {

std::string Keys::Key(std::string_view suffix) const {
  return absl::StrCat(architecture_, ".", ToAbsl(suffix));
}

bool Keys::Has(std::string_view suffix) const {
  const auto value = checkpoint_.OptionalNumber(Key(suffix));
  return !value.ok() || value->has_value();
}

absl::StatusOr<int64_t> Keys::Integer(std::string_view suffix, int64_t least, int64_t most,
                                      std::optional<int64_t> otherwise) const {
  LH_ASSIGN_OR_RETURN(std::optional<int64_t> value, checkpoint_.OptionalInteger(Key(suffix)));
  if (!value && !otherwise) return Missing(suffix);
  if (!value) value = otherwise;
  if (*value < least || *value > most) {
    return Error(suffix, *value, ", expected an integer from ", least, " to ", most);
  }
  return *value;
}

absl::StatusOr<double> Keys::Number(std::string_view suffix, double least, double most,
                                    std::optional<double> otherwise) const {
  LH_ASSIGN_OR_RETURN(std::optional<double> value, checkpoint_.OptionalNumber(Key(suffix)));
  if (!value && !otherwise) return Missing(suffix);
  if (!value) value = otherwise;
  if (!(*value >= least && *value <= most)) {  // also what is not a number
    return Error(suffix, *value, ", expected a number from ", least, " to ", most);
  }
  return *value;
}

absl::Status Keys::Missing(std::string_view suffix) const {
  return absl::InvalidArgumentError(absl::StrCat(checkpoint_.path(), ": key ", Quoted(Key(suffix)), " is missing"));
}

}  // namespace longhaul
