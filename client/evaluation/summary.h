#pragma once

#include <optional>
#include <string>
#include <vector>

#include "client/evaluation/measurement.h"
#include "client/evaluation/statistics.h"

namespace longhaul {

// One cell: a mode at a length (passkey: and a depth; documents: their number), over its samples.
struct Cell {
  std::string position, resolved;
  int64_t length = 0, depth = 0, reach = 0;
  bool past_recommended = false;
  Estimate value;
  std::optional<Estimate>
      difference;                    // to the control: mode none at the control length; none where no sample is shared
  std::optional<double> first_copy;  // repeated
  std::optional<double> cited;       // documents, NBCE: share of right citations
  double seconds = 0;                // mean
};

// Modes in the order of their first measurement, lengths ascending.
std::vector<Cell> Summarize(const std::vector<Measurement>& measurements, int64_t control_length);

// The control's mode.
inline constexpr char kControl[] = "none";

}  // namespace longhaul
