#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/evaluation/measurement.h"

namespace longhaul {

// What must be equal for measurements to be compared in one table.
struct Identity {
  std::string task;  // "tail-loss", "repeated", "passkey", "documents"
  std::string engine_fingerprint, text_sha256;
  int64_t text_tokens = 0, trained_length = 0;
  int64_t score_tokens = 0;  // tail loss
  int64_t period = 0;        // repeated
  int64_t seed = 0;          // passkey, documents

  // Of the control, mode none: the trained length, or the right document alone.
  int64_t control_length() const { return task == "documents" ? 1 : trained_length; }

  bool operator==(const Identity&) const = default;
};

// Further facts about a run, for the reader of the file.
struct RunInfo {
  std::string model, file_type, compute_type, kv_cache_type, backend, instruction_set, server_version, version;
  uint32_t threads = 0;
  std::string text_path;
  int64_t text_bytes = 0;
  std::string target;  // empty: a server of evaluate's own
  std::vector<std::string> command, server_flags;
};

// The measurements of one or more runs in a JSON file: the result, and the state from which a stopped run goes on.
// Several runs may add to one file as long as their identities agree and their spans are nested. Losses are kept to 5
// digits and every mean is taken of what is kept, so that a run that was stopped comes to the same file.
class ResultFile {
 public:
  // Reads `path` if it is there. FAILED_PRECONDITION says what does not agree.
  static absl::StatusOr<ResultFile> Open(const std::string& path, const Identity& identity, const RunInfo& run,
                                         const std::vector<int64_t>& spans);

  const std::vector<Measurement>& measurements() const { return measurements_; }
  const std::vector<Refused>& refused() const { return refused_; }
  const Identity& identity() const { return identity_; }

  bool Has(const std::string& position, int64_t length, const Repetition& sample) const;

  // Takes a measurement and writes the file. FAILED_PRECONDITION when its mode resolved to another plan than the file's
  // measurements of the same mode and length. (Documents: each question has a prompt of its own length, so a plan.)
  absl::Status Add(Measurement done);

  // Notes that the server refused a cell; a later Add of that cell takes the note away.
  void Refuse(Refused refused);

  absl::Status Write() const;

 private:
  ResultFile() = default;
  absl::Status Read(const std::string& text, const RunInfo& run);

  std::string path_;
  Identity identity_;
  std::vector<int64_t> spans_;
  std::string runs_, model_, text_;  // JSON
  std::vector<Measurement> measurements_;
  std::vector<Refused> refused_;
};

}  // namespace longhaul
