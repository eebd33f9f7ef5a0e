#include "client/commands/admin_commands.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/client.h"
#include "client/commands/command_flags.h"
#include "client/io/output.h"
#include "client/io/text_input.h"
#include "engine/base/quoted.h"
#include "engine/base/terminal.h"
#include "proto/position_text.h"

namespace longhaul {
namespace {

using Row = std::vector<std::string>;

const char* StateName(v1::RequestState state) {
  switch (state) {
    case v1::REQUEST_STATE_WAITING:
      return "waiting";
    case v1::REQUEST_STATE_PREFILL:
      return "prefill";
    case v1::REQUEST_STATE_DECODE:
      return "decode";
    default:
      return "unknown";
  }
}

// Columns as wide as their widest entry; the last one as it is.
void PrintTable(const std::vector<Row>& rows) {
  std::vector<size_t> widths(rows.front().size(), 0);
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const Row& row : rows) {
    for (size_t i = 0; i + 1 < row.size(); ++i) absl::PrintF("%-*s  ", static_cast<int>(widths[i]), row[i]);
    absl::PrintF("%s\n", row.back());
  }
}

int Ps(const Common& common) {
  const auto response = Client(common.target).ListRequests(common.call());
  if (!response.ok()) return PrintError(response.status(), common.json);
  if (common.json) {
    PrintJson(*response);
    return 0;
  }
  std::vector<Row> rows = {
      {"ID", "CLIENT", "STATE", "ROWS", "READ", "GENERATED", "AGE", "BLOCKS", "PRIORITY", "POSITION"}};
  for (const v1::RequestInfo& request : response->requests()) {
    rows.push_back(
        {ForTerminal(stdout, request.id()), ForTerminal(stdout, request.client()), StateName(request.state()),
         absl::StrCat(request.rows()), absl::StrCat(request.tokens_read(), "/", request.prompt_tokens()),
         absl::StrCat(request.tokens_generated()), absl::StrFormat("%.1fs", request.age()),
         absl::StrCat(request.blocks()), absl::StrCat(request.priority()), PositionText(request.position())});
  }
  PrintTable(rows);
  return 0;
}

int Cancel(const Common& common, const std::string& id) {
  if (absl::Status status = CheckText("the id", id); !status.ok()) return PrintError(status, common.json);
  v1::CancelRequestRequest request;
  request.set_id(id);
  const auto response = Client(common.target).CancelRequest(request, common.call());
  if (!response.ok()) return PrintError(response.status(), common.json);
  if (common.json) {
    PrintJson(*response);
  } else if (response->cancelled() > 0) {
    std::printf("%u cancelled\n", response->cancelled());
  }
  if (response->cancelled() > 0) return 0;
  if (!common.json) std::fprintf(stderr, "longhaul: no request %s waits or runs\n", Quoted(id).c_str());
  return kNoSuchRequest;
}

}  // namespace

void AddAdminCommands(CLI::App& app, int& exit_code) {
  {
    const auto common = std::make_shared<Common>();
    CLI::App* const command = app.add_subcommand("ps",
                                                 "The requests that wait or run on the server, oldest first.\n"
                                                 "  longhaul ps\n"
                                                 "  longhaul ps --json");
    AddConnection(*command, *common);
    command->callback([=, &exit_code] { exit_code = Ps(*common); });
  }
  {
    const auto common = std::make_shared<Common>();
    const auto id = std::make_shared<std::string>();
    CLI::App* const command = app.add_subcommand("cancel",
                                                 "End a request of any client.\n"
                                                 "  longhaul cancel REQUEST_ID    (as `longhaul ps` lists them)");
    AddConnection(*command, *common);
    command->add_option("id", *id, "the request's id; all that have it end")->required();
    command->callback([=, &exit_code] { exit_code = Cancel(*common, *id); });
  }
}

}  // namespace longhaul
