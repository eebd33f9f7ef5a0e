#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace longhaul {

// Draws a result file as the pictures `outputs` (.svg, .png) with the Python package of client/python, which
// deploy/install_python_client.sh installs. FAILED_PRECONDITION says how when it is missing.
absl::Status Plot(const std::string& task, const std::string& result, const std::vector<std::string>& outputs);

}  // namespace longhaul
