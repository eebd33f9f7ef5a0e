#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/evaluation/documents.h"
#include "client/evaluation/interrupt.h"
#include "client/evaluation/passkey.h"
#include "longhaul/v1/inference.pb.h"

namespace longhaul {

// What `longhaul evaluate` was asked for.
struct EvaluationOptions {
  std::string task = "tail-loss";  // or "repeated", "passkey", "documents"
  std::string text;                // path; passkey: may be empty; documents: none
  std::vector<int64_t> lengths;    // tokens; documents: how many
  std::vector<v1::PositionMode> positions;
  int64_t spans = 3;
  int64_t score_tokens = 0;    // tail loss; 0: half of the shortest length, at most 2048
  int64_t period = 0;          // repeated; 0: half of the shortest length, at most half of L
  int64_t trained_length = 0;  // L; 0: the model's
  PasskeyOptions passkey;
  DocumentsOptions documents;

  std::string target;  // HOST:PORT of a running server, unless `model` is given
  std::string model;   // GGUF for a server of our own
  std::string server;  // its program; empty: looked up
  std::vector<std::string> server_flags;

  std::string output;              // the result file
  std::string csv;                 // empty: none
  std::vector<std::string> plots;  // .svg, .png
  bool must_plot = false;          // it is an error when nothing can be drawn
  bool quiet = false;
  std::vector<std::string> command;  // what the user typed, for the result file
};

// Evaluates every mode at every length, writes each measurement at once, and prints the table at the end. CANCELLED
// after Ctrl-C; the same options go on from there.
absl::Status Evaluate(const EvaluationOptions& options, Interrupt& interrupt);

}  // namespace longhaul
