#include "server/environment_check.h"

#include <algorithm>
#include <numeric>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/printable.h"

namespace longhaul {
namespace {

constexpr std::string_view kPrefix = "LONGHAUL_";
constexpr size_t kNear = 2;
constexpr std::string_view kOfCompose = "LONGHAUL_MODELS";  // the folder that deploy/compose.yaml brings in

// How many characters must be inserted, left out or changed to make `b` of `a`.
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t changed = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({changed, diagonal + 1, row[j] + 1});
    }
  }
  return row.back();
}

}  // namespace

std::vector<std::string> CheckEnvironment(std::span<const std::string> environment,
                                          std::span<const std::string> known) {
  std::vector<std::string> warnings;
  for (const std::string& entry : environment) {
    constexpr size_t kLongest = 100;  // of a name that is looked at
    const std::string name = entry.substr(0, entry.find('='));
    if (!name.starts_with(kPrefix) || name.size() > kLongest || name == kOfCompose) continue;
    const std::string* nearest = nullptr;
    size_t least = kNear + 1;
    for (const std::string& flag : known) {
      if (const size_t distance = EditDistance(name, flag); distance < least) {
        least = distance;
        nearest = &flag;
      }
    }
    if (nearest == nullptr || least == 0) continue;
    warnings.push_back(
        absl::StrCat("the environment has ", Printable(name), ", which is no flag's variable; ", *nearest, " is one"));
  }
  return warnings;
}

}  // namespace longhaul
