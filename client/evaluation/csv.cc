#include "client/evaluation/csv.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

namespace longhaul {
namespace {

// RFC 4180.
std::string Field(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\"", "\"\""}}), "\"");
}

std::string Number(const std::optional<double>& x) {
  return x.has_value() ? absl::StrFormat("%.6f", *x) : "";
}

}  // namespace

std::string CsvText(const Identity& identity, const std::vector<Cell>& cells, const std::vector<Refused>& refused) {
  std::string text =
      "task,position,resolved,length,depth,n,mean,standard_error,difference,difference_standard_error,first_copy,cited,"
      "reach,past_recommended,seconds,refused\n";
  const bool by_depth = identity.task == "passkey";
  const auto line = [&](const std::vector<std::string>& fields) {
    absl::StrAppend(&text, absl::StrJoin(fields, ",", [](std::string* out, const std::string& f) { *out += Field(f); }),
                    "\n");
  };
  for (const Cell& c : cells) {
    const bool has_difference = c.difference.has_value();
    line({identity.task, c.position, c.resolved, absl::StrCat(c.length), by_depth ? absl::StrCat(c.depth) : "",
          absl::StrCat(c.value.n), Number(c.value.mean), Number(c.value.standard_error),
          has_difference ? Number(c.difference->mean) : "", has_difference ? Number(c.difference->standard_error) : "",
          Number(c.first_copy), Number(c.cited), absl::StrCat(c.reach), c.past_recommended ? "true" : "false",
          absl::StrFormat("%.3f", c.seconds), ""});
  }
  for (const Refused& r : refused) {
    line({identity.task, r.position, "", absl::StrCat(r.length), "", "0", "", "", "", "", "", "", "", "", "",
          r.message});
  }
  return text;
}

}  // namespace longhaul
