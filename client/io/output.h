#pragma once

#include <google/protobuf/message.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "longhaul/v1/inference.pb.h"

// What the command line prints.
namespace longhaul {

// The exit code where nothing has the id that was given.
constexpr int kNoSuchRequest = 7;

// 0 for OK; otherwise by the kind of error, as `longhaul --help` lists them.
int ExitCode(const absl::Status& status);

// "PROGRAM: MESSAGE" on standard error; with `json` an object on standard output. Returns ExitCode. Says nothing once
// standard output cannot be written: requests are stopped for that, and the end of the program tells it.
int PrintError(const absl::Status& status, bool json);

// A message as a JSON object on a line of its own (see client/README.md), written out at once.
void PrintJson(const google::protobuf::Message& message);

// Text that a model made, on standard output: as it is, but on a terminal its control characters are escaped.
void PrintText(std::string_view text);

// The lines of `longhaul info`.
void PrintModel(const v1::GetModelResponse& model);

// The line of `longhaul warm`.
void PrintWarmed(const v1::Finished& finished);

// How far a prompt has been read, on one line of a terminal's standard error.
class ReadingLine {
 public:
  // Shows nothing unless `enabled`, nor where standard error is no terminal.
  explicit ReadingLine(bool enabled);
  void Show(const v1::Progress& progress);
  // Before something else is printed.
  void Clear();

 private:
  const bool enabled_;
  bool shown_ = false;
};

// How the text of a stream is printed on standard output. Calls in this order; only the last may be missing.
class AnswerPrinter {
 public:
  virtual ~AnswerPrinter() = default;
  // What is known before the first chunk.
  virtual void Start(const v1::Started&) {}
  virtual void Print(const v1::Chunk& chunk) = 0;
  // No more will come. Ends the line unless nothing of a failed answer stands on it.
  virtual void End(bool whole) = 0;
  // Of a whole answer, on standard error: what stands above the summary.
  virtual void PrintDetails(const v1::Finished&) const {}
};

// Prints the text of a stream's answers one after the other: that of the first that has not ended as it arrives, the
// others when it is their turn, those that are whole at the latest at the end. Several have a heading each.
class AnswersInOrder : public AnswerPrinter {
 public:
  explicit AnswersInOrder(uint32_t n) : answers_(std::max(n, 1u)) {}
  void Print(const v1::Chunk& chunk) override;
  void End(bool whole) override;

 private:
  struct Answer {
    std::string waiting;
    bool ended = false;
  };
  void PrintWaiting();

  std::vector<Answer> answers_;
  size_t current_ = 0;
  bool has_begun_ = false;  // the current one
  bool has_printed_ = false;
};

// Tokens, speed and reason of a finished answer, and how its positions were computed unless plainly; on standard error.
void PrintSummary(const v1::Started& started, const v1::Finished& finished);

// A token's bytes as a JSON string, for standard output.
std::string QuotePiece(std::string_view bytes);

}  // namespace longhaul
