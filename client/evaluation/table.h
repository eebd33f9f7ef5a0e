#pragma once

#include <string>
#include <vector>

#include "client/evaluation/measurement.h"
#include "client/evaluation/result_file.h"
#include "client/evaluation/summary.h"

namespace longhaul {

// The table on standard output: modes as rows, lengths as columns, mean +- standard error, below it the difference to
// the control; refused cells numbered, with the server's words below.
std::string TableText(const Identity& identity, const std::vector<Cell>& cells, const std::vector<Refused>& refused);

}  // namespace longhaul
