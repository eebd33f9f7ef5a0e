#include "engine/position/position_resolver.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "engine/base/field_error.h"
#include "engine/base/status_macros.h"
#include "engine/position/parameter_checks.h"
#include "engine/position/plan_maker.h"

namespace longhaul {

PositionResolver::PositionResolver(const ModelRotation& rotation, RotaryPlan plain, const PositionMode& default_mode,
                                   int64_t trained_length)
    : rotation_(rotation), plain_(std::move(plain)), default_mode_(default_mode), trained_length_(trained_length) {}

absl::StatusOr<PositionResolver> PositionResolver::Create(const ModelRotation& rotation,
                                                          const PositionMode& default_mode, int64_t trained_length) {
  LH_ASSIGN_OR_RETURN(RotaryPlan plain, PlainPlan(rotation));
  if (trained_length < 0 || trained_length == 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("trained length ", trained_length, " is not allowed; it must be at least 2, or 0 for the file's"));
  }
  if (trained_length == 0) trained_length = rotation.trained_length;
  if (std::holds_alternative<position::Auto>(default_mode.kind)) {
    return absl::InvalidArgumentError("the default position mode cannot be auto: it is what auto becomes");
  }
  PositionResolver resolver(rotation, std::move(plain), default_mode, trained_length);
  const auto resolved = resolver.Resolve(default_mode, 0);
  if (!resolved.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the default position mode cannot be used: ", resolved.status().message()));
  }
  return resolver;
}

absl::StatusOr<ResolvedPosition> PositionResolver::Resolve(const PositionMode& mode, int64_t length) const {
  LH_RETURN_IF_ERROR(CheckLength("trained_length", mode.trained_length, "the server's"));
  PositionMode concrete = mode;
  const auto* automatic = std::get_if<position::Auto>(&mode.kind);
  if (automatic != nullptr && concrete.trained_length == 0) concrete.trained_length = default_mode_.trained_length;
  if (concrete.trained_length == 0) concrete.trained_length = trained_length_;
  if (length <= 0) length = concrete.trained_length;
  if (automatic == nullptr) return MakePlan(rotation_, plain_, std::move(concrete), length);

  if (automatic->expected_tokens < 0) {
    return Refusal("auto.expected_tokens", automatic->expected_tokens, "at least 0");
  }
  length = std::max(length, automatic->expected_tokens);
  const bool plain = length <= concrete.trained_length;
  if (plain) {
    concrete.kind = position::None();
  } else {
    concrete.kind = default_mode_.kind;
    if (!concrete.log_n.has_value()) concrete.log_n = default_mode_.log_n;
    concrete.allow_beyond_reach |= default_mode_.allow_beyond_reach;
  }
  auto resolved = MakePlan(rotation_, plain_, std::move(concrete), length);
  if (resolved.ok()) {
    resolved->refit = resolved->plan.fingerprint != plain_.fingerprint;
  } else if (!plain && mode.trained_length != 0) {
    // The default mode was found right with the server's trained length, so what it is with this one is the request's.
    const absl::Status& why = resolved.status();
    return AtField(
        "position.trained_length",
        absl::Status(why.code(), absl::StrCat(mode.trained_length,
                                              " does not go with the server's default mode: ", why.message())));
  }
  return resolved;
}

}  // namespace longhaul
