#include "server/metrics/metrics_text.h"

#include <array>
#include <charconv>
#include <cmath>
#include <string_view>

namespace longhaul {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricType;

void AppendNumber(uint64_t value, std::string& out) {
  std::array<char, 24> digits;
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  out.append(digits.data(), end);
}

void AppendNumber(double value, std::string& out) {
  if (std::isnan(value)) {
    out += "Nan";
  } else if (std::isinf(value)) {
    out += value < 0 ? "-Inf" : "+Inf";
  } else {
    constexpr int kPrecision = 16;
    std::array<char, 40> digits;
    const auto [end, error] =
        std::to_chars(digits.data(), digits.data() + digits.size(), value, std::chars_format::general, kPrecision);
    out.append(digits.data(), end);
  }
}

void AppendLabel(const ClientMetric::Label& label, std::string& out) {
  out += label.name;
  out += "=\"";
  for (const char c : label.value) {
    if (c == '\n') {
      out += "\\n";
    } else {
      if (c == '\\' || c == '"') out += '\\';
      out += c;
    }
  }
  out += '"';
}

// {a="b",c="d" without the closing brace; empty without labels.
std::string OpenLabels(const std::vector<ClientMetric::Label>& labels) {
  std::string out;
  for (const ClientMetric::Label& label : labels) {
    out += out.empty() ? '{' : ',';
    AppendLabel(label, out);
  }
  return out;
}

class Lines {
 public:
  // `labels` as OpenLabels makes them.
  Lines(const std::string& name, const std::string& labels, std::string& out)
      : name_(name), labels_(labels), out_(out) {}

  template <typename Number>
  void Add(std::string_view suffix, Number value) {
    Begin(suffix);
    if (!labels_.empty()) out_ += '}';
    End(value);
  }

  void AddBucket(const ClientMetric::Bucket& bucket) {
    Begin("_bucket");
    out_ += labels_.empty() ? "{le=\"" : ",le=\"";
    AppendNumber(bucket.upper_bound, out_);
    out_ += "\"}";
    End(bucket.cumulative_count);
  }

 private:
  void Begin(std::string_view suffix) {
    out_ += name_;
    out_ += suffix;
    out_ += labels_;
  }
  template <typename Number>
  void End(Number value) {
    out_ += ' ';
    AppendNumber(value, out_);
    out_ += '\n';
  }

  const std::string& name_;
  const std::string& labels_;
  std::string& out_;
};

const char* TypeName(MetricType type) {
  switch (type) {
    case MetricType::Counter:
      return "counter";
    case MetricType::Gauge:
      return "gauge";
    case MetricType::Histogram:
      return "histogram";
    default:
      return "untyped";
  }
}

}  // namespace

std::string MetricsText(const MetricFamilies& families) {
  std::string out;
  for (const prometheus::MetricFamily& family : families) {
    if (!family.help.empty()) out += "# HELP " + family.name + " " + family.help + "\n";
    out += "# TYPE " + family.name + " " + TypeName(family.type) + "\n";
    for (const ClientMetric& metric : family.metric) {
      const std::string labels = OpenLabels(metric.label);
      Lines lines(family.name, labels, out);
      if (family.type == MetricType::Counter) {
        lines.Add("", metric.counter.value);
      } else if (family.type == MetricType::Gauge) {
        lines.Add("", metric.gauge.value);
      } else if (family.type == MetricType::Histogram) {
        lines.Add("_count", metric.histogram.sample_count);
        lines.Add("_sum", metric.histogram.sample_sum);
        for (const ClientMetric::Bucket& bucket : metric.histogram.bucket) lines.AddBucket(bucket);
      }
    }
  }
  return out;
}

}  // namespace longhaul
