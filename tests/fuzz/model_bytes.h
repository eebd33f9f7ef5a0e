#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "engine/backend/types.h"
#include "engine/base/token.h"

namespace longhaul {

// How far the bytes of a model file get on the way to an answer; each step is taken only after the one before.
enum class Reached { kNothing, kHeader, kTensors, kTokenizer, kRunner, kToken };

struct ModelBytesResult {
  Reached reached = Reached::kNothing;  // the last step that succeeded
  std::string refusal;                  // why the next one did not
  std::optional<TokenId> token;         // the most probable one after token 0
};

// Takes `bytes` as a model file all the way to one token, as the server does, with these products; without a type it
// stops before the runner. Crashes, hangs and takes absurd memory only where the code under test does; a refusal must
// be INVALID_ARGUMENT.
ModelBytesResult TryModelBytes(std::span<const std::byte> bytes, std::optional<ComputeType> type);

}  // namespace longhaul
