#include "client/loadgen/lengths.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/io/files.h"
#include "engine/base/decimal.h"
#include "engine/base/status_macros.h"

namespace longhaul::loadgen {
namespace {

constexpr int64_t kMax = int64_t{1} << 30;

absl::StatusOr<int64_t> Tokens(const std::string& text) {
  int64_t n = 0;
  if (absl::SimpleAtoi(text, &n) && n >= 1 && n <= kMax) return n;
  return absl::InvalidArgumentError(absl::StrCat("'", text, "' is no number of tokens, 1 to ", kMax));
}

// "mean=800,sigma=0.5"
absl::StatusOr<std::map<std::string, std::string>> Parameters(const std::string& text,
                                                              const std::vector<std::string>& allowed) {
  std::map<std::string, std::string> parameters;
  for (const std::string& piece : std::vector<std::string>(absl::StrSplit(text, ',', absl::SkipEmpty()))) {
    const std::pair<std::string, std::string> parameter = absl::StrSplit(piece, absl::MaxSplits('=', 1));
    if (std::find(allowed.begin(), allowed.end(), parameter.first) == allowed.end()) {
      return absl::InvalidArgumentError(absl::StrCat("'", piece, "' is no parameter of it"));
    }
    parameters.insert(parameter);
  }
  return parameters;
}

absl::StatusOr<double> Number(const std::string& name, const std::string& text, double least) {
  double value = 0;
  if (ParseDecimal(text, value) && value >= least && value <= static_cast<double>(kMax)) return value;
  return absl::InvalidArgumentError(absl::StrCat(name, "=", text, " is not allowed; it must be at least ", least));
}

}  // namespace

absl::StatusOr<Lengths> Lengths::Parse(std::string_view text) {
  Lengths lengths;
  lengths.text_ = std::string(text);
  const size_t colon = lengths.text_.find(':');
  const std::string kind = colon == std::string::npos ? "fixed" : lengths.text_.substr(0, colon);
  const std::string rest = colon == std::string::npos ? lengths.text_ : lengths.text_.substr(colon + 1);
  if (kind == "fixed") {
    LH_ASSIGN_OR_RETURN(lengths.min_, Tokens(rest));
    lengths.max_ = lengths.min_;
    return lengths;
  }
  if (kind == "file") {
    LH_ASSIGN_OR_RETURN(const std::string bytes, ReadFile("lengths", rest));
    for (const std::string& line : std::vector<std::string>(absl::StrSplit(bytes, '\n', absl::SkipWhitespace()))) {
      LH_ASSIGN_OR_RETURN(const int64_t n, Tokens(std::string(absl::StripAsciiWhitespace(line))));
      lengths.choices_.push_back(n);
    }
    if (lengths.choices_.empty()) return absl::InvalidArgumentError(absl::StrCat(rest, " holds no number"));
    lengths.kind_ = Kind::kFile;
    return lengths;
  }
  if (kind != "uniform" && kind != "lognormal") {
    return absl::InvalidArgumentError(absl::StrCat(
        "'", kind, "' is no distribution; they are N, uniform:min=N,max=N, lognormal:mean=X and file:PATH"));
  }
  const bool uniform = kind == "uniform";
  using Names = std::vector<std::string>;
  LH_ASSIGN_OR_RETURN(auto given,
                      Parameters(rest, uniform ? Names{"min", "max"} : Names{"mean", "sigma", "min", "max"}));
  for (const std::string& name : uniform ? Names{"min", "max"} : Names{"mean"}) {
    if (!given.contains(name)) return absl::InvalidArgumentError(absl::StrCat(kind, " needs ", name, "="));
  }
  if (given.contains("min")) {
    LH_ASSIGN_OR_RETURN(lengths.min_, Tokens(given["min"]));
  }
  if (given.contains("max")) {
    LH_ASSIGN_OR_RETURN(lengths.max_, Tokens(given["max"]));
  }
  if (lengths.min_ > lengths.max_) return absl::InvalidArgumentError("min is above max");
  if (uniform) return lengths;
  lengths.kind_ = Kind::kLognormal;
  LH_ASSIGN_OR_RETURN(lengths.mean_, Number("mean", given["mean"], 1));
  if (given.contains("sigma")) {
    LH_ASSIGN_OR_RETURN(lengths.sigma_, Number("sigma", given["sigma"], 0));
  }
  return lengths;
}

int64_t Lengths::Draw(Random& random) const {
  switch (kind_) {
    case Kind::kUniform:
      return min_ + random.Below(max_ - min_ + 1);
    case Kind::kFile:
      return choices_[static_cast<size_t>(random.Below(std::ssize(choices_)))];
    case Kind::kLognormal:
      break;
  }
  // exp(mu + sigma^2 / 2) is the mean of the distribution.
  const double mu = std::log(mean_) - sigma_ * sigma_ / 2;
  const double drawn = std::exp(mu + sigma_ * random.Normal());
  return std::clamp(std::llround(std::min(drawn, static_cast<double>(kMax))), static_cast<long long>(min_),
                    static_cast<long long>(max_));
}

}  // namespace longhaul::loadgen
