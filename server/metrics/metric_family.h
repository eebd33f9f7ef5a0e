#pragma once

#include <prometheus/metric_family.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/histogram.h"

// Families of metrics, as prometheus-cpp holds them, made from plain numbers.
namespace longhaul {

using MetricFamilies = std::vector<prometheus::MetricFamily>;
using MetricLabels = std::vector<prometheus::ClientMetric::Label>;

// What a histogram's integers are divided by to become the metric's unit.
inline constexpr double kNanosecondsPerSecond = 1e9, kAsTheyAre = 1;

// Appends a family and fills it, before another one is appended. `constant` labels come first on each of its series.
class FamilyWriter {
 public:
  FamilyWriter(MetricFamilies& families, std::string name, std::string help, prometheus::MetricType type,
               MetricLabels constant = {});

  void Counter(MetricLabels labels, double value);
  void Gauge(MetricLabels labels, double value);
  void Histogram(MetricLabels labels, const Histogram::Snapshot& snapshot, double divisor);

 private:
  prometheus::ClientMetric& Add(MetricLabels labels);

  prometheus::MetricFamily& family_;
  const MetricLabels constant_;
};

}  // namespace longhaul
