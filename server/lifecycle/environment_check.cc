#include "server/lifecycle/environment_check.h"

#include <string_view>

#include "absl/strings/str_cat.h"
#include "engine/base/edit_distance.h"
#include "engine/base/printable.h"

namespace longhaul {
namespace {

constexpr std::string_view kPrefix = "LONGHAUL_";
constexpr size_t kNear = 2;

}  // namespace

std::vector<std::string> CheckEnvironment(std::span<const std::string> environment,
                                          std::span<const std::string> known) {
  std::vector<std::string> warnings;
  for (const std::string& entry : environment) {
    constexpr size_t kLongest = 100;  // of a name that is looked at
    const std::string name = entry.substr(0, entry.find('='));
    if (!name.starts_with(kPrefix) || name.size() > kLongest) continue;
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
