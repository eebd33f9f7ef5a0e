#include "engine/base/field_error.h"

#include "absl/strings/cord.h"
#include "engine/base/strings.h"

namespace longhaul {
namespace {

constexpr const char kField[] = "longhaul/field";  // the payload

}  // namespace

absl::Status FieldError(std::string_view field, std::string_view problem) {
  absl::Status status = absl::InvalidArgumentError(absl::StrCat(ToAbsl(field), ": ", ToAbsl(problem)));
  status.SetPayload(kField, absl::Cord(ToAbsl(field)));
  return status;
}

absl::Status NotAllowed(std::string_view field, const absl::AlphaNum& value, std::string_view allowed) {
  return FieldError(field, absl::StrCat(value, " is not allowed; it must be ", ToAbsl(allowed)));
}

absl::Status AtField(std::string_view field, const absl::Status& status) {
  if (status.ok()) return status;
  const std::optional<std::string> member = FieldOf(status);
  absl::Status named(status.code(), absl::StrCat(ToAbsl(field), member.has_value() ? "." : ": ", status.message()));
  status.ForEachPayload([&](absl::string_view name, const absl::Cord& payload) { named.SetPayload(name, payload); });
  if (absl::IsInvalidArgument(named)) {
    named.SetPayload(kField,
                     absl::Cord(member.has_value() ? absl::StrCat(ToAbsl(field), ".", *member) : std::string(field)));
  }
  return named;
}

std::optional<std::string> FieldOf(const absl::Status& status) {
  const absl::optional<absl::Cord> field = status.GetPayload(kField);
  if (!field.has_value()) return std::nullopt;
  return std::string(*field);
}

}  // namespace longhaul
