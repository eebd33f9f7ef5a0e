#pragma once

#include <cstdint>
#include <string>

#include "engine/position/position_mode.h"

namespace longhaul {

enum class RequestPhase {
  kWaiting,  // being tokenized, or no room for it yet
  kPrefill,
  kDecode,
};

// How far a request is.
struct RequestProgress {
  RequestPhase phase = RequestPhase::kWaiting;
  int64_t tokens_read = 0;       // of the prompt, of all rows together
  int64_t tokens_generated = 0;  // of the answer
  int64_t blocks = 0;            // of the cache, as often as its rows hold them
};

// A request that has not finished, as an operator sees it.
struct RequestInfo {
  std::string id, client;
  int priority = 0;
  PositionMode position{};              // as asked for until the prompt has been tokenized, then the mode in use
  int64_t rows = 0, prompt_tokens = 0;  // of all rows together; 0 until then
  double age = 0;                       // seconds since Submit
  RequestProgress progress{};
};

}  // namespace longhaul
