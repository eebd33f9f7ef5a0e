#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace longhaul::loadgen {

// What became of one request. Times are seconds from the run's start, as the client saw them.
struct StreamRecord {
  struct Chunk {
    double at = 0;
    int64_t tokens = 0;
  };
  // The server's own timings, from Finished.
  struct Server {
    double queue = 0, prefill = 0, decode = 0, first_token = 0;
    int64_t prompt_tokens = 0, cached_tokens = 0;
  };

  enum class End {
    kAnswered,    // status OK
    kCancelled,   // by this client, as planned
    kUnfinished,  // by this client, because the run was over
    kFailed,      // any other status
  };

  double intended = 0;  // when it was meant to be sent
  double sent = 0;
  double ended = 0;
  int64_t output_tokens = 0;  // asked for
  std::vector<Chunk> chunks;  // those with tokens
  End end = End::kFailed;
  std::string error;    // kFailed: the status code's name; kUnfinished: "unfinished"
  std::string message;  // kFailed: the status's words
  std::optional<Server> server;
  std::string position;  // PlannedRequest's

  int64_t tokens() const {
    int64_t sum = 0;
    for (const Chunk& chunk : chunks) sum += chunk.tokens;
    return sum;
  }
};

}  // namespace longhaul::loadgen
