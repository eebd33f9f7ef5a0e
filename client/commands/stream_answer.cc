#include "client/commands/stream_answer.h"

#include <cstdio>

namespace longhaul {

absl::Status StreamAnswer(Client& client, const v1::GenerateRequest& request, const Common& common, bool quiet,
                          AnswerPrinter& printer, std::string* answer) {
  ReadingLine progress(!common.json && !quiet);
  v1::Started started;
  v1::Finished finished;
  const absl::Status status = client.Generate(request, common.call(), [&](const v1::GenerateResponse& message) {
    if (message.has_started()) {
      started = message.started();
      printer.Start(started);
    }
    if (message.has_finished()) finished = message.finished();
    if (message.has_chunk() && answer != nullptr) *answer += message.chunk().text();
    if (common.json) {
      PrintJson(message);
    } else if (message.has_progress()) {
      progress.Show(message.progress());
    } else if (message.has_chunk()) {
      progress.Clear();
      printer.Print(message.chunk());
    }
    return std::ferror(stdout) == 0;
  });
  progress.Clear();
  if (common.json) return status;
  printer.End(status.ok());
  if (status.ok() && !quiet) {
    printer.PrintDetails(finished);
    PrintSummary(started, finished);
  }
  return status;
}

}  // namespace longhaul
