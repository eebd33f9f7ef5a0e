#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "engine/text/chat_template.h"
#include "engine/text/vocabulary.h"

namespace longhaul {

// The style in which the vocabulary's own chat template writes conversations of system, user and assistant: the
// template is run on some, and its style is the one in which RenderChat writes them all the same. As with Hugging
// Face's tokenizers a BOS stands there if and only if the template writes one (llama.cpp adds one where add_bos says
// so). No tools, and no date but the one that the template itself holds, so that an answer does not depend on the day.
// FAILED_PRECONDITION where no known family writes the same, saying what differs, or where there is no template.
absl::StatusOr<ChatStyle> FindChatStyle(const Vocabulary& vocabulary);

// The style of a family that was chosen by hand. A BOS stands first where the model wants one before every text, and in
// llama3 always.
ChatStyle PlainChatStyle(ChatFamily family, const Vocabulary& vocabulary);

}  // namespace longhaul
