#include "server/metrics/metrics_text.h"

#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

#include <cmath>
#include <limits>
#include <random>

namespace longhaul {
namespace {

using prometheus::MetricType;

// What it is a faster twin of.
std::string Reference(const MetricFamilies& families) {
  return prometheus::TextSerializer().Serialize(families);
}

class RandomFamilies {
 public:
  explicit RandomFamilies(unsigned seed) : random_(seed) {}

  MetricFamilies Make() {
    MetricFamilies families;
    const MetricType types[] = {MetricType::Counter, MetricType::Gauge, MetricType::Histogram};
    for (int f = 0; f < 3; ++f) {
      prometheus::MetricFamily& family = families.emplace_back();
      family.name = "family_" + std::to_string(f);
      family.help = Below(4) == 0 ? "" : "Some words of help.";
      family.type = types[Below(3)];
      for (int m = Below(4); m > 0; --m) family.metric.push_back(Metric());
    }
    return families;
  }

 private:
  int Below(int bound) { return static_cast<int>(random_() % static_cast<unsigned>(bound)); }

  double Number() {
    const double special[] = {0,
                              -0.0,
                              1,
                              0.1,
                              0.3,
                              1e300,
                              1e-300,
                              123456789,
                              std::nan(""),
                              std::numeric_limits<double>::infinity(),
                              -std::numeric_limits<double>::infinity()};
    if (Below(2) == 0) return special[Below(std::size(special))];
    return std::ldexp(static_cast<double>(random_()) - 2e9, Below(120) - 60);
  }

  prometheus::ClientMetric Metric() {
    prometheus::ClientMetric metric;
    for (int l = Below(4); l > 0; --l) {
      std::string value;
      for (int c = Below(12); c > 0; --c) value += "ab \\\"\n{},=é"[Below(12)];
      metric.label.push_back({"label_" + std::to_string(l), value});
    }
    metric.counter.value = Number();
    metric.gauge.value = Number();
    metric.histogram.sample_count = random_();
    metric.histogram.sample_sum = Number();
    for (int b = Below(5); b > 0; --b) metric.histogram.bucket.push_back({random_(), Number()});
    metric.histogram.bucket.push_back({random_(), std::numeric_limits<double>::infinity()});
    return metric;
  }

  std::mt19937 random_;
};

TEST(MetricsText, EqualsThatOfTheLibrary) {
  for (unsigned seed = 0; seed < 2000; ++seed) {
    const MetricFamilies families = RandomFamilies(seed).Make();
    ASSERT_EQ(MetricsText(families), Reference(families)) << "seed " << seed;
  }
}

TEST(MetricsText, NothingIsNothing) {
  EXPECT_EQ(MetricsText({}), "");
}

}  // namespace
}  // namespace longhaul
