#pragma once

#include "absl/status/statusor.h"
#include "engine/model/checkpoint.h"
#include "engine/text/vocabulary.h"

namespace longhaul {

// Reads the tokenizer's keys as they are; Tokenizer::Create checks them. INVALID_ARGUMENT naming file and key.
absl::StatusOr<Vocabulary> ReadVocabulary(const Checkpoint& checkpoint);

}  // namespace longhaul
