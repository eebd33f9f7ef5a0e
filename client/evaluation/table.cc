#include "client/evaluation/table.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/evaluation/grid.h"

namespace longhaul {
namespace {

std::string EstimateText(const Estimate& e, bool sign) {
  const std::string mean = sign ? absl::StrFormat("%+.4f", e.mean) : absl::StrFormat("%.4f", e.mean);
  return e.standard_error.has_value() ? absl::StrFormat("%s +-%.4f", mean, *e.standard_error) : mean;
}

std::string Heading(const Identity& identity, int64_t max_samples) {
  if (identity.task == "tail-loss") {
    return absl::StrCat("Tail loss: nat per token of the last ", identity.score_tokens, " tokens, mean of ",
                        max_samples, max_samples == 1 ? " span" : " spans +- its standard error.\n",
                        "Below it the difference to none at ", identity.trained_length,
                        " tokens (the same text, truncated), paired by span.\n");
  }
  if (identity.task == "repeated") {
    return absl::StrCat(
        "Repeated text: share of right next tokens from the second copy of a passage of ", identity.period,
        " tokens on, mean of ", max_samples,
        max_samples == 1 ? " span" : " spans +- its standard error.\nBelow it that of the first copy.\n");
  }
  if (identity.task == "documents") {
    return absl::StrCat(
        "Documents: share of ", max_samples,
        " questions that were answered, mean +- its standard error, by the number of documents.\n",
        "A mode reads all of them in one prompt (0: the floor, 1: the ceiling), nbce each in a row of its "
        "own;\nbelow it the share that cited the right document.\n");
  }
  return absl::StrCat("Passkey: share of ", max_samples, " keys that were found, by depth (percent of the filler).\n");
}

struct Footnotes {
  std::string Mark(const std::string& message) {
    const auto found = std::find(messages.begin(), messages.end(), message);
    const auto number = found - messages.begin() + 1;
    if (found == messages.end()) messages.push_back(message);
    return absl::StrCat("refused [", number, "]");
  }
  std::vector<std::string> messages;
};

}  // namespace

std::string TableText(const Identity& identity, const std::vector<Cell>& cells, const std::vector<Refused>& refused) {
  const bool by_depth = identity.task == "passkey";
  std::vector<std::string> positions;
  std::set<int64_t> lengths, depths;
  int64_t max_samples = 0;
  const auto see = [&](const std::string& position, int64_t length) {
    if (std::find(positions.begin(), positions.end(), position) == positions.end()) positions.push_back(position);
    lengths.insert(length);
  };
  std::map<std::tuple<std::string, int64_t, int64_t>, const Cell*> measured;
  for (const Cell& cell : cells) {
    see(cell.position, cell.length);
    depths.insert(cell.depth);
    max_samples = std::max(max_samples, cell.value.n);
    measured[{cell.position, cell.length, cell.depth}] = &cell;
  }
  std::map<std::pair<std::string, int64_t>, const Refused*> refusals;
  for (const Refused& r : refused) {
    see(r.position, r.length);
    refusals[{r.position, r.length}] = &r;
  }
  if (depths.empty()) depths.insert(0);

  Footnotes footnotes;
  bool any_past = false;
  std::vector<std::vector<std::string>> rows(1);
  rows[0].push_back("position");
  if (by_depth) rows[0].push_back("depth");
  for (const int64_t length : lengths) rows[0].push_back(absl::StrCat(length));
  for (const std::string& position : positions) {
    for (const int64_t depth : depths) {
      std::vector<std::string> first = {position}, second = {""};
      if (by_depth) first.push_back(absl::StrCat(depth));
      for (const int64_t length : lengths) {
        const auto found = measured.find({position, length, depth});
        if (found == measured.end()) {
          const auto refusal = refusals.find({position, length});
          first.push_back(refusal == refusals.end() ? "-" : footnotes.Mark(refusal->second->message));
          second.push_back("");
          continue;
        }
        const Cell& cell = *found->second;
        any_past = any_past || cell.past_recommended;
        const std::string notes = absl::StrCat(cell.past_recommended ? " *" : "",
                                               cell.value.n < max_samples ? absl::StrCat(" (", cell.value.n, ")") : "");
        first.push_back(EstimateText(cell.value, false) + notes);
        if (cell.first_copy.has_value()) {
          second.push_back(absl::StrFormat("%.4f", *cell.first_copy));
        } else if (identity.task == "documents") {
          second.push_back(cell.cited.has_value() ? absl::StrFormat("%.4f", *cell.cited) : "");
        } else if (cell.position == kControl && cell.length == identity.trained_length) {
          second.push_back("control");
        } else {
          second.push_back(cell.difference.has_value() ? EstimateText(*cell.difference, true) : "");
        }
      }
      rows.push_back(std::move(first));
      const bool has_second =
          std::any_of(second.begin(), second.end(), [](const std::string& s) { return !s.empty(); });
      if (!by_depth && has_second) rows.push_back(std::move(second));
    }
  }
  std::string text = absl::StrCat(Heading(identity, max_samples), "\n", GridText(rows));
  if (any_past) text += "\n* longer than what the server recommends for the mode\n";
  const bool some_have_fewer =
      std::any_of(cells.begin(), cells.end(), [&](const Cell& c) { return c.value.n < max_samples; });
  const char* const samples = by_depth ? "keys" : identity.task == "documents" ? "questions" : "spans";
  if (some_have_fewer) text += absl::StrCat("\n(n) of so many ", samples, " only\n");
  for (size_t i = 0; i < footnotes.messages.size(); ++i) {
    absl::StrAppend(&text, i == 0 ? "\n" : "", "[", i + 1, "] ", footnotes.messages[i], "\n");
  }
  return text;
}

}  // namespace longhaul
