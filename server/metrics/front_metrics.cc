#include "server/metrics/front_metrics.h"

namespace longhaul {
namespace {

using prometheus::MetricType;

// A counter for each of `names`, from `first` on.
template <size_t n>
void ByReason(FamilyWriter writer, const std::array<const char*, n>& names, const std::array<Counter, n>& counters,
              size_t first = 0) {
  for (size_t i = first; i < n; ++i) writer.Counter({{"reason", names[i]}}, static_cast<double>(counters[i].value()));
}

}  // namespace

void CollectFront(const FrontUse& use, const MetricLabels& constant, MetricFamilies& families) {
  const auto gauge = [&](const char* name, const char* help, int64_t value) {
    FamilyWriter(families, name, help, MetricType::Gauge, constant).Gauge({}, static_cast<double>(value));
  };
  gauge("longhaul_connections", "Connections that are open, or closed and not yet cleared away.", use.connections);
  gauge("longhaul_streams", "Calls that are open on connections.", use.streams);
  gauge("longhaul_upload_bytes",
        "Memory that messages keep which have not arrived whole, or come after the first of a call.",
        use.upload_bytes + use.further_bytes);
  FamilyWriter(families, "longhaul_connections_accepted_total", "Connections that were taken.", MetricType::Counter,
               constant)
      .Counter({}, static_cast<double>(use.accepted.value()));
  ByReason(FamilyWriter(families, "longhaul_connections_refused_total", "Connections that found no room.",
                        MetricType::Counter, constant),
           kConnectionRefusalNames, use.refused);
  ByReason(
      FamilyWriter(families, "longhaul_connections_misbehaved_total",
                   "Connections that were closed for what the client sent, or did not.", MetricType::Counter, constant),
      kMisbehaviourNames, use.misbehaved, static_cast<size_t>(Misbehaviour::kNone) + 1);
  ByReason(FamilyWriter(families, "longhaul_streams_refused_total", "Calls that were ended before they began.",
                        MetricType::Counter, constant),
           kStreamRefusalNames, use.streams_refused);
}

}  // namespace longhaul
