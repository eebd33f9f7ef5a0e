#include "client/io/plan_output.h"

#include <cstdio>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proto/position_text.h"

namespace longhaul {
namespace {

std::string ReachText(uint64_t reach) {
  return reach == 0 ? "no bound" : absl::StrCat(reach, " tokens");
}

// "keys turn by j / 16, queries by p / 16 + 960"
std::string FarText(const v1::FarMap& far) {
  const std::string offset = absl::StrFormat("%.15g", far.query_offset());
  if (far.divisor() == 0) return absl::StrCat("keys do not turn, queries turn by ", offset);
  const auto quotient = [&](const char* position) {
    const std::string text = absl::StrCat(position, " / ", far.divisor());
    return far.floor() ? absl::StrCat("floor(", text, ")") : text;
  };
  return absl::StrCat("keys turn by ", quotient("j"), ", queries by ", quotient("p"), " + ", offset);
}

}  // namespace

void PrintPlan(const v1::ResolvedPlan& plan) {
  std::printf("position        %s\n", PositionText(plan.position()).c_str());
  std::printf("reach           %s%s\n", ReachText(plan.reach()).c_str(),
              plan.past_recommended() ? "; past the length that the mode is recommended for" : "");
  std::printf("refit           %s\n", plan.refit() ? "yes: auto or a fit chose another plan than the plain one" : "no");
  if (plan.has_far()) {
    std::printf("far map         from distance %llu on: %s\n", static_cast<unsigned long long>(plan.far().window()),
                FarText(plan.far()).c_str());
  } else {
    std::printf("far map         none: the same rotation at every distance\n");
  }
  std::printf("query scale     %.9g\n", plan.query_scale());
  if (plan.log_n_trained_length() > 0) {
    std::printf("log-n           queries times max(1, ln(p + 1) / ln(%.9g))\n", plan.log_n_trained_length());
  } else {
    std::printf("log-n           off\n");
  }
}

void PrintFrequencies(const v1::ResolvedPlan& plan, const v1::ResolvedPlan& plain) {
  std::printf("pairs           %d: index, radians per position, share of the model's own\n", plan.frequencies_size());
  for (int i = 0; i < plan.frequencies_size(); ++i) {
    const double own = i < plain.frequencies_size() ? plain.frequencies(i) : 0;
    std::printf("%d\t%.17g\t%.9g\n", i, plan.frequencies(i), plan.frequencies(i) / own);
  }
}

void PrintPositions(const v1::Started& started) {
  const v1::PositionMode& mode = started.position();
  if (mode.kind_case() == v1::PositionMode::KIND_NOT_SET) return;  // a server that does not tell
  if (!mode.has_none() || mode.has_log_n()) {
    std::fprintf(stderr, "[position %s, reach %s]\n", PositionText(mode).c_str(), ReachText(started.reach()).c_str());
  }
  if (started.past_recommended()) {
    std::fprintf(stderr, "longhaul: warning: the text is longer than %s is recommended for\n",
                 PositionText(mode).c_str());
  }
}

}  // namespace longhaul
