#include "server/metrics/metric_family.h"

#include <iterator>
#include <limits>

namespace longhaul {

FamilyWriter::FamilyWriter(MetricFamilies& families, std::string name, std::string help, prometheus::MetricType type,
                           MetricLabels constant)
    : family_(families.emplace_back()), constant_(std::move(constant)) {
  family_.name = std::move(name);
  family_.help = std::move(help);
  family_.type = type;
}

prometheus::ClientMetric& FamilyWriter::Add(MetricLabels labels) {
  prometheus::ClientMetric& metric = family_.metric.emplace_back();
  metric.label.reserve(constant_.size() + labels.size());
  metric.label = constant_;
  std::move(labels.begin(), labels.end(), std::back_inserter(metric.label));
  return metric;
}

void FamilyWriter::Counter(MetricLabels labels, double value) {
  Add(std::move(labels)).counter.value = value;
}

void FamilyWriter::Gauge(MetricLabels labels, double value) {
  Add(std::move(labels)).gauge.value = value;
}

void FamilyWriter::Histogram(MetricLabels labels, const Histogram::Snapshot& snapshot, double divisor) {
  prometheus::ClientMetric::Histogram& out = Add(std::move(labels)).histogram;
  out.bucket.reserve(snapshot.counts.size());
  for (size_t i = 0; i < snapshot.counts.size(); ++i) {
    out.sample_count += static_cast<uint64_t>(snapshot.counts[i]);
    const bool is_last = i == snapshot.bounds.size();
    const double bound =
        is_last ? std::numeric_limits<double>::infinity() : static_cast<double>(snapshot.bounds[i]) / divisor;
    out.bucket.push_back({out.sample_count, bound});
  }
  out.sample_sum = static_cast<double>(snapshot.sum) / divisor;
}

}  // namespace longhaul
