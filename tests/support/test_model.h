#pragma once

#include <string>

namespace longhaul {

// The default model that deploy/fetch_model.sh brings: $LONGHAUL_TEST_MODEL, else the file in Longhaul's cache folder.
// Ends the test program with a message when it is not there: a test never passes for want of a model.
std::string TestModelPath();

// A file of the source tree, for example "tests/oracle/goldens/short.json".
std::string SourcePath(const std::string& relative);

}  // namespace longhaul
