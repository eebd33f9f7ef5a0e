#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/client.h"
#include "client/evaluation/measurement.h"

namespace longhaul {

// How far the request that runs has read; false cancels it.
using OnProgress = std::function<bool(int64_t read_tokens)>;

// Log-probabilities of the tokens from `from_token` on.
struct ScoredText {
  std::vector<double> losses;      // nat, to 5 digits after the point
  std::vector<int32_t> likeliest;  // the most probable token at each place, if asked for
};

// Each fills `measurement` with what Started reports and with the seconds taken.
absl::StatusOr<ScoredText> Score(Client& client, const std::vector<int32_t>& tokens, const v1::PositionMode& position,
                                 int64_t from_token, bool likeliest, const OnProgress& on_progress,
                                 Measurement& measurement);

// The greedy answer to `request`, of which `finished` tells the rest.
absl::StatusOr<std::string> Generate(Client& client, v1::GenerateRequest request, const OnProgress& on_progress,
                                     Measurement& measurement, v1::Finished& finished);

// The greedy continuation, at most `max_tokens`.
absl::StatusOr<std::string> Continue(Client& client, const std::vector<int32_t>& tokens,
                                     const v1::PositionMode& position, uint32_t max_tokens,
                                     const OnProgress& on_progress, Measurement& measurement);

}  // namespace longhaul
