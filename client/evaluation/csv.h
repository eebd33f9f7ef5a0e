#pragma once

#include <string>
#include <vector>

#include "client/evaluation/measurement.h"
#include "client/evaluation/result_file.h"
#include "client/evaluation/summary.h"

namespace longhaul {

// A header, then a line for each cell and each refused cell (its words in the last column).
std::string CsvText(const Identity& identity, const std::vector<Cell>& cells, const std::vector<Refused>& refused);

}  // namespace longhaul
