#include "client/evaluation/summary.h"

#include <algorithm>
#include <map>

namespace longhaul {
namespace {

struct Group {
  const Measurement* first = nullptr;
  int64_t depth = 0;
  Values values, first_copies, citations, seconds;
};

}  // namespace

std::vector<Cell> Summarize(const std::vector<Measurement>& measurements, int64_t control_length) {
  std::vector<std::string> order;
  std::map<std::tuple<size_t, int64_t, int64_t>, Group> groups;
  Values control;
  for (const Measurement& m : measurements) {
    const auto found = std::find(order.begin(), order.end(), m.position);
    const auto place = static_cast<size_t>(found - order.begin());
    if (found == order.end()) order.push_back(m.position);
    Group& group = groups[{place, m.length, m.sample.depth}];
    if (group.first == nullptr) group.first = &m;
    group.depth = m.sample.depth;
    group.values[m.sample] = m.value;
    group.seconds[m.sample] = m.seconds;
    if (m.first_copy.has_value()) group.first_copies[m.sample] = *m.first_copy;
    if (m.cited.has_value()) group.citations[m.sample] = *m.cited;
    if (m.position == kControl && m.length == control_length) control[m.sample] = m.value;
  }
  std::vector<Cell> cells;
  for (const auto& [key, group] : groups) {
    Cell cell{.position = group.first->position,
              .resolved = group.first->resolved,
              .length = group.first->length,
              .depth = group.depth,
              .reach = group.first->reach,
              .past_recommended = group.first->past_recommended,
              .value = MeanOf(group.values),
              .difference = std::nullopt,
              .first_copy = std::nullopt,
              .cited = std::nullopt,
              .seconds = MeanOf(group.seconds).mean};
    if (const Estimate difference = PairedDifference(group.values, control); difference.n > 0) {
      cell.difference = difference;
    }
    if (!group.first_copies.empty()) cell.first_copy = MeanOf(group.first_copies).mean;
    if (!group.citations.empty()) cell.cited = MeanOf(group.citations).mean;
    cells.push_back(std::move(cell));
  }
  return cells;
}

}  // namespace longhaul
