#pragma once

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "engine/engine.h"
#include "longhaul/v1/inference.pb.h"

// Bounds of what one call may tokenize or detokenize, and of its answer. INVALID_ARGUMENT names the field, what it
// holds and the bound.
namespace longhaul {

inline constexpr size_t kMaxTextBytes = 8 << 20, kMaxTextIds = 2 << 20, kMaxPieces = 1 << 20;

absl::Status CheckTokenize(const v1::TokenizeRequest& request);
absl::Status CheckDetokenize(const v1::DetokenizeRequest& request);

// Of the text of an answer; `field`: what asks for it.
absl::Status CheckTextBytes(const char* field, size_t bytes);

// Of the pieces of these tokens, which take many times their text. RESOURCE_EXHAUSTED where there is no memory for
// them.
absl::Status CheckPieces(const Engine& engine, const std::vector<TokenId>& ids);

}  // namespace longhaul
