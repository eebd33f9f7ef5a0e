#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "client/loadgen/histogram.h"
#include "client/loadgen/objective.h"
#include "client/loadgen/stream_record.h"

namespace longhaul::loadgen {

// What is measured of a run: requests meant to be sent, and tokens and answers that arrived, from `begin` until before
// `end` (seconds from the run's start).
struct Window {
  double begin = 0;
  double end = std::numeric_limits<double>::infinity();
  bool Holds(double time) const { return time >= begin && time < end; }
};

// What the requests of a run come to. Latencies count from the moment when a request was *meant* to be sent: a request
// that waits because the client or the server was busy is late by that wait (no coordinated omission). Not thread-safe.
class Measurement {
 public:
  Measurement(const Window& window, const std::vector<Objective>& objectives)
      : window_(window), objectives_(objectives) {}

  // Order does not matter.
  void Add(const StreamRecord& record);

  // From the intended send until the first chunk with a token.
  Histogram time_to_first_token;
  // The time between two chunks of a stream, divided by the tokens of the later one and counted once for each of them.
  Histogram inter_token_latency;
  // The same time, undivided, counted once.
  Histogram chunk_gap;
  // (last chunk - first chunk) / (tokens - those of the first chunk), once a request.
  Histogram time_per_output_token;
  // From the intended send until the status; of answered requests.
  Histogram end_to_end;
  // From the intended send until it was sent.
  Histogram lateness;
  // What Finished told.
  Histogram server_queue, server_prefill, server_decode, server_first_token;

  int64_t requests = 0, answered = 0, cancelled = 0, failed = 0;  // measured; failed holds the unfinished ones
  int64_t good = 0;                                               // see Good
  int64_t wrong_length = 0;                                       // answered with other than the tokens asked for
  int64_t prompt_tokens = 0, cached_tokens = 0;                   // as the server counts them
  std::map<std::string, int64_t> errors;                          // by code
  std::map<std::string, std::string> messages;                    // the first of each code

  // What arrived within the window, of whatever request.
  int64_t tokens_in_window = 0, answers_in_window = 0;
  // The end of the last request.
  double last = 0;

  // Nothing was sent from `time` on, before the window's end: the window ends there.
  void EndAt(double time) { window_.end = std::min(window_.end, time); }

  // The window's length; where it has no end, until the last request's.
  double seconds() const;

  // An objective's value over all measured requests. A request that failed before its first token counts as infinitely
  // late to it, one that failed at all as never ended: an error must not improve a percentile.
  double Value(const Objective& objective) const;

 private:
  // Whether the request kept every objective by itself: ttft, tpot (also for itl) and e2e, each with the bound of its
  // highest percentile. An answer is needed, or a cancellation of our own (then e2e is not asked).
  bool Good(const StreamRecord& record) const;

  Window window_;
  std::vector<Objective> objectives_;
};

}  // namespace longhaul::loadgen
