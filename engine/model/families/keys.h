#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "engine/base/quoted.h"
#include "engine/model/checkpoint.h"

namespace longhaul {

// The keys of one architecture: "llama." and a suffix. Errors are INVALID_ARGUMENT and name file and key.
class Keys {
 public:
  // `checkpoint` outlives it.
  Keys(const Checkpoint& checkpoint, std::string_view architecture)
      : checkpoint_(checkpoint), architecture_(architecture) {}

  std::string Key(std::string_view suffix) const;
  bool Has(std::string_view suffix) const;

  // The integer of a key, in [least, most]; `otherwise` where the key is missing, which is an error without it.
  absl::StatusOr<int64_t> Integer(std::string_view suffix, int64_t least, int64_t most,
                                  std::optional<int64_t> otherwise = std::nullopt) const;
  // As Integer, for a float or integer.
  absl::StatusOr<double> Number(std::string_view suffix, double least, double most,
                                std::optional<double> otherwise = std::nullopt) const;

  // The error of a key whose value is not allowed: "... holds" and `parts`.
  template <typename... Parts>
  absl::Status Error(std::string_view suffix, const Parts&... parts) const {
    return absl::InvalidArgumentError(
        absl::StrCat(checkpoint_.path(), ": key ", Quoted(Key(suffix)), " holds ", parts...));
  }

 private:
  absl::Status Missing(std::string_view suffix) const;

  const Checkpoint& checkpoint_;
  const std::string architecture_;
};

}  // namespace longhaul
