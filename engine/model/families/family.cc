#include "engine/model/families/family.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/quoted.h"
#include "engine/model/families/llama.h"
#include "engine/model/families/qwen2.h"
#include "engine/model/families/qwen3.h"

namespace longhaul {
namespace {

constexpr const Family* kFamilies[] = {&kLlama, &kQwen2, &kQwen3};

}  // namespace

std::span<const Family* const> Families() {
  return kFamilies;
}

const Family* FindFamily(std::string_view architecture) {
  const auto* const found = std::ranges::find(kFamilies, architecture, &Family::architecture);
  return found == std::end(kFamilies) ? nullptr : *found;
}

std::string SupportedArchitectures() {
  const auto quote = [](std::string* out, const Family* family) { out->append(Quoted(family->architecture)); };
  return absl::StrCat(absl::StrJoin(kFamilies, ", ", quote), std::size(kFamilies) == 1 ? " is" : " are");
}

}  // namespace longhaul
