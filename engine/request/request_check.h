#pragma once

#include "absl/status/status.h"
#include "engine/request/request.h"

// What can be said of a request without the model. INVALID_ARGUMENT names the first field that is wrong (see
// FieldError), its value and what is allowed. Fast, however long the texts are. Pure functions.
namespace longhaul {

// All but what the position mode holds, which is checked when it is resolved.
absl::Status CheckRequest(const Request& request);

// A prompt that is to be read alone: not empty, a chat of known roles.
absl::Status CheckPrompt(const Prompt& prompt);

}  // namespace longhaul
