#include "client/loadgen/measurement.h"

#include <algorithm>
#include <cmath>
#include <optional>

namespace longhaul::loadgen {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Needs tokens after the first chunk.
std::optional<double> TimePerOutputToken(const StreamRecord& record) {
  if (record.chunks.size() < 2) return std::nullopt;
  const int64_t tokens = record.tokens() - record.chunks.front().tokens;
  return (record.chunks.back().at - record.chunks.front().at) / static_cast<double>(tokens);
}

// The percentile over `histogram` and `missing` further times that are infinite.
double PercentileWithMissing(const Histogram& histogram, int64_t missing, double percent) {
  const auto all = static_cast<double>(histogram.count() + missing);
  if (all == 0) return kInfinity;
  const double rank = std::ceil(percent / 100 * all - 1e-6);
  if (rank > static_cast<double>(histogram.count())) return kInfinity;
  return histogram.Percentile(100 * rank / static_cast<double>(histogram.count()));
}

}  // namespace

void Measurement::Add(const StreamRecord& record) {
  last = std::max(last, record.ended);
  for (const StreamRecord::Chunk& chunk : record.chunks) {
    if (window_.Holds(chunk.at)) tokens_in_window += chunk.tokens;
  }
  if (record.end == StreamRecord::End::kAnswered && window_.Holds(record.ended)) ++answers_in_window;
  if (!window_.Holds(record.intended)) return;

  ++requests;
  lateness.Record(record.sent - record.intended);
  if (!record.chunks.empty()) time_to_first_token.Record(record.chunks.front().at - record.intended);
  for (size_t i = 1; i < record.chunks.size(); ++i) {
    const double gap = record.chunks[i].at - record.chunks[i - 1].at;
    chunk_gap.Record(gap);
    inter_token_latency.Record(gap / static_cast<double>(record.chunks[i].tokens), record.chunks[i].tokens);
  }
  if (const auto time = TimePerOutputToken(record)) time_per_output_token.Record(*time);
  if (record.server.has_value()) {
    server_queue.Record(record.server->queue);
    server_prefill.Record(record.server->prefill);
    server_decode.Record(record.server->decode);
    if (record.server->first_token > 0) server_first_token.Record(record.server->first_token);
    prompt_tokens += record.server->prompt_tokens;
    cached_tokens += record.server->cached_tokens;
  }
  good += Good(record) ? 1 : 0;
  switch (record.end) {
    case StreamRecord::End::kAnswered:
      ++answered;
      end_to_end.Record(record.ended - record.intended);
      wrong_length += record.tokens() == record.output_tokens ? 0 : 1;
      break;
    case StreamRecord::End::kCancelled:
      ++cancelled;
      break;
    case StreamRecord::End::kUnfinished:
    case StreamRecord::End::kFailed:
      ++failed;
      ++errors[record.error];
      messages.try_emplace(record.error, record.message);
      break;
  }
}

double Measurement::seconds() const {
  return std::max(0.0, (std::isfinite(window_.end) ? window_.end : last) - window_.begin);
}

double Measurement::Value(const Objective& objective) const {
  switch (objective.metric) {
    case Objective::Metric::kTimeToFirstToken:
      return PercentileWithMissing(time_to_first_token, requests - time_to_first_token.count(), objective.percent);
    case Objective::Metric::kEndToEnd:
      return PercentileWithMissing(end_to_end, failed, objective.percent);
    case Objective::Metric::kInterTokenLatency:
      return PercentileWithMissing(inter_token_latency, 0, objective.percent);
    case Objective::Metric::kTimePerOutputToken:
      return PercentileWithMissing(time_per_output_token, 0, objective.percent);
    case Objective::Metric::kErrorRate:
      return requests == 0 ? kInfinity : static_cast<double>(failed) / static_cast<double>(requests);
  }
  return kInfinity;
}

bool Measurement::Good(const StreamRecord& record) const {
  using Metric = Objective::Metric;
  const bool answered_whole = record.end == StreamRecord::End::kAnswered;
  if ((!answered_whole && record.end != StreamRecord::End::kCancelled) || record.chunks.empty()) return false;
  const auto within = [&](Metric metric, double value) {
    const Objective* widest = nullptr;
    for (const Objective& o : objectives_) {
      if (o.metric == metric && (widest == nullptr || o.percent > widest->percent)) widest = &o;
    }
    return widest == nullptr || value <= widest->bound;
  };
  const double per_token = TimePerOutputToken(record).value_or(0);
  return within(Metric::kTimeToFirstToken, record.chunks.front().at - record.intended) &&
         within(Metric::kInterTokenLatency, per_token) && within(Metric::kTimePerOutputToken, per_token) &&
         (!answered_whole || within(Metric::kEndToEnd, record.ended - record.intended));
}

}  // namespace longhaul::loadgen
