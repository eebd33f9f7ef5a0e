#pragma once

#include <cstddef>

#include "absl/status/status.h"
#include "longhaul/v1/admin.pb.h"
#include "longhaul/v1/inference.pb.h"

namespace longhaul {

// Bounds of what one call may tokenize or detokenize, and of its answer.
inline constexpr size_t kMaxTextBytes = 8 << 20, kMaxTextIds = 2 << 20, kMaxPieces = 1 << 20;

// What can be said of a request without the model: INVALID_ARGUMENT names the field, its value and what is allowed.
absl::Status Validate(const v1::GenerateRequest& request);
absl::Status Validate(const v1::ScoreRequest& request);
absl::Status Validate(const v1::TokenizeRequest& request);
absl::Status Validate(const v1::DetokenizeRequest& request);
inline absl::Status Validate(const v1::GetModelRequest&) {
  return absl::OkStatus();
}
inline absl::Status Validate(const v1::ListRequestsRequest&) {
  return absl::OkStatus();
}
absl::Status Validate(const v1::CancelRequestRequest& request);

}  // namespace longhaul
