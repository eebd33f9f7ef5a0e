#pragma once

#include <string>

#include "absl/status/status.h"
#include "client/client.h"
#include "client/commands/command_flags.h"
#include "client/io/output.h"
#include "longhaul/v1/inference.pb.h"

namespace longhaul {

// Runs a request and has its answer printed as it arrives (as JSON where `common` says so, without `printer`), and
// unless `quiet` a summary; `answer`, if given, gets its text. OK too when standard output takes no more, which ends
// the request.
absl::Status StreamAnswer(Client& client, const v1::GenerateRequest& request, const Common& common, bool quiet,
                          AnswerPrinter& printer, std::string* answer = nullptr);

}  // namespace longhaul
