#include "client/loadgen/position_share.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "engine/base/decimal.h"
#include "engine/base/status_macros.h"
#include "proto/position_text.h"

namespace longhaul::loadgen {
namespace {

// A piece with a weight ends its mode; so does one after which a new mode begins, as ParsePositions tells.
struct Weighted {
  std::string modes;
  double weight = 1;
  bool given = false;
};

absl::StatusOr<std::vector<Weighted>> SplitAtWeights(const std::string& text) {
  std::vector<Weighted> parts;
  std::vector<std::string> pieces;
  for (const std::string& piece : std::vector<std::string>(absl::StrSplit(text, ','))) {
    const std::pair<std::string, std::string> sides = absl::StrSplit(piece, absl::MaxSplits('@', 1));
    pieces.push_back(sides.first);
    if (sides.first == piece) continue;
    Weighted part{.modes = absl::StrJoin(pieces, ","), .given = true};
    if (!ParseDecimal(sides.second, part.weight) || !(part.weight > 0 && part.weight <= 1e6)) {
      return absl::InvalidArgumentError(absl::StrCat("'", piece, "': the share after '@' must be a number above 0"));
    }
    parts.push_back(std::move(part));
    pieces.clear();
  }
  if (!pieces.empty()) parts.push_back({.modes = absl::StrJoin(pieces, ",")});
  return parts;
}

}  // namespace

absl::StatusOr<std::vector<PositionShare>> ParsePositionShares(std::string_view text) {
  std::vector<PositionShare> shares;
  LH_ASSIGN_OR_RETURN(const std::vector<Weighted> parts, SplitAtWeights(std::string(text)));
  double sum = 0;
  for (const Weighted& part : parts) {
    LH_ASSIGN_OR_RETURN(const std::vector<v1::PositionMode> modes, ParsePositions(part.modes));
    if (modes.empty()) return absl::InvalidArgumentError(absl::StrCat("'", std::string(text), "' names no mode"));
    for (const v1::PositionMode& mode : modes) {
      // The weight is that of the mode before it; others before have none.
      shares.push_back({mode, part.given && &mode == &modes.back() ? part.weight : 1.0});
      sum += shares.back().share;
    }
  }
  for (PositionShare& share : shares) share.share /= sum;
  return shares;
}

}  // namespace longhaul::loadgen
