#include "client/evaluation/evaluation.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/client.h"
#include "client/evaluation/cost_model.h"
#include "client/evaluation/csv.h"
#include "client/evaluation/own_server.h"
#include "client/evaluation/plot.h"
#include "client/evaluation/position_name.h"
#include "client/evaluation/progress.h"
#include "client/evaluation/repeated_text.h"
#include "client/evaluation/result_file.h"
#include "client/evaluation/spans.h"
#include "client/evaluation/table.h"
#include "client/evaluation/tail_loss.h"
#include "client/evaluation/text.h"
#include "client/io/files.h"
#include "engine/base/status_macros.h"
#include "engine/base/terminal.h"

namespace longhaul {
namespace {

// A request that is to be made.
struct Planned {
  v1::PositionMode position;
  std::string name;  // of the position
  int64_t length = 0;
  Repetition sample;
};

// Everything that is known before the first request.
struct Setup {
  v1::GetModelResponse model;
  int64_t trained_length = 0;  // L
  Text text;
  std::vector<int64_t> spans;
  std::unique_ptr<Task> task;
  Identity identity;
  bool has_control = true;
};

void Warn(const std::string& message) {
  absl::FPrintF(stderr, "longhaul: %s\n", TextForTerminal(stderr, message));
}

// Makes the task that was asked for on the text in `setup`, and chooses its spans.
absl::Status MakeTask(Client& client, const EvaluationOptions& options, Setup& setup) {
  const auto [shortest, longest] = std::minmax_element(options.lengths.begin(), options.lengths.end());
  const int64_t n_tokens = setup.text.size();
  if (options.task == "tail-loss") {
    setup.identity.score_tokens =
        options.score_tokens > 0 ? options.score_tokens : std::clamp<int64_t>(*shortest / 2, 1, 2048);
    LH_ASSIGN_OR_RETURN(setup.spans, ChooseSpans(n_tokens, options.spans, *longest));
    setup.has_control = setup.spans[0] >= setup.trained_length;
    setup.task = std::make_unique<TailLoss>(setup.text, setup.spans, setup.identity.score_tokens);
  } else if (options.task == "repeated") {
    setup.identity.period =
        options.period > 0 ? options.period : std::max<int64_t>(2, std::min(*shortest, setup.trained_length) / 2);
    LH_ASSIGN_OR_RETURN(setup.spans, ChooseSpans(n_tokens, options.spans, setup.identity.period));
    setup.task = std::make_unique<RepeatedText>(setup.text, setup.spans, setup.identity.period);
  } else if (options.task == "documents") {
    setup.identity.seed = options.documents.seed;
    setup.has_control = false;
    auto task = std::make_unique<Documents>(options.documents, options.lengths);
    setup.identity.text_sha256 = task->Sha256();
    setup.task = std::move(task);
  } else {
    setup.identity.seed = options.passkey.seed;
    const Text* const filler = options.text.empty() ? nullptr : &setup.text;
    LH_ASSIGN_OR_RETURN(Passkey task, Passkey::Make(client, filler, options.passkey));
    setup.task = std::make_unique<Passkey>(std::move(task));
  }
  for (const int64_t length : options.lengths) LH_RETURN_IF_ERROR(setup.task->CheckLength(length));
  return absl::OkStatus();
}

// Fills `setup`, which must not be moved afterwards: the task points to its text.
absl::Status Prepare(Client& client, const EvaluationOptions& options, Setup& setup) {
  LH_ASSIGN_OR_RETURN(setup.model, client.Model({}));
  setup.trained_length =
      options.trained_length > 0 ? options.trained_length : static_cast<int64_t>(setup.model.trained_length());
  const std::string& type = setup.model.compute_type();
  if (type == "int8") {
    Warn(
        "the server rounds activations to int8, whose noise (about 0.05 nat per token) hides the differences between "
        "modes (0.01 to 0.05): serve with --compute-type bf16 or f32 to measure them");
  }
  if (!options.text.empty()) {
    LH_ASSIGN_OR_RETURN(setup.text, ReadText(client, options.text));
  }
  setup.identity.text_sha256 = setup.text.sha256;
  LH_RETURN_IF_ERROR(MakeTask(client, options, setup));
  setup.has_control = setup.has_control && setup.task->CheckLength(setup.trained_length).ok();
  setup.identity.task = options.task;
  setup.identity.engine_fingerprint = setup.model.engine_fingerprint();
  setup.identity.text_tokens = setup.text.size();
  setup.identity.trained_length = setup.trained_length;
  return absl::OkStatus();
}

RunInfo RunInfoOf(const EvaluationOptions& options, const Setup& setup) {
  const v1::GetModelResponse& m = setup.model;
  return {.model = m.name(),
          .file_type = m.file_type(),
          .compute_type = m.compute_type(),
          .kv_cache_type = m.kv_cache_type(),
          .backend = m.backend(),
          .instruction_set = m.instruction_set(),
          .server_version = m.version(),
          .version = LONGHAUL_VERSION,
          .threads = m.threads(),
          .text_path = setup.text.path,
          .text_bytes = setup.text.bytes,
          .target = options.model.empty() ? options.target : "",
          .command = options.command,
          .server_flags = options.server_flags};
}

// Short lengths first, and every mode on a sample before the next sample: what is there early can be compared. The
// control is added where the lengths and modes do not hold it.
std::vector<Planned> Plan(const EvaluationOptions& options, const Setup& setup) {
  v1::PositionMode plain;
  plain.mutable_none();
  std::vector<std::pair<std::string, v1::PositionMode>> modes;
  const auto add_mode = [&](v1::PositionMode mode) {
    const std::string name = PositionName(mode);
    mode.set_allow_beyond_reach(true);
    if (mode.trained_length() == 0) mode.set_trained_length(static_cast<uint64_t>(options.trained_length));
    if (std::none_of(modes.begin(), modes.end(), [&](const auto& m) { return m.first == name; })) {
      modes.emplace_back(name, std::move(mode));
    }
  };
  if (setup.has_control) add_mode(plain);
  for (const v1::PositionMode& mode : options.positions) add_mode(mode);
  const auto& settings = options.documents.nbce;
  for (const auto& [name, nbce] : settings) modes.emplace_back(name, v1::PositionMode());
  const std::set<int64_t> lengths(options.lengths.begin(), options.lengths.end());
  const bool wants_plain = std::any_of(options.positions.begin(), options.positions.end(),
                                       [](const v1::PositionMode& m) { return PositionName(m) == kControl; });
  std::set<int64_t> all = lengths;
  if (setup.has_control) all.insert(setup.trained_length);
  std::vector<Planned> plan;
  for (const int64_t length : all) {
    for (const Repetition& sample : setup.task->Repetitions()) {
      for (const auto& [name, mode] : modes) {
        const bool is_control = name == kControl && length == setup.trained_length;
        const bool has_rows = length > 0 || std::none_of(settings.begin(), settings.end(),
                                                         [&](const NbceSetting& s) { return s.first == name; });
        const bool asked_for = lengths.contains(length) && has_rows && (name != kControl || wants_plain);
        if (is_control || asked_for) plan.push_back({mode, name, length, sample});
      }
    }
  }
  return plan;
}

std::string Describe(const std::string& task, const Planned& planned) {
  const Repetition& s = planned.sample;
  if (task == "documents") {
    return absl::StrCat(planned.name, ", ", planned.length, " documents, question ", s.trial);
  }
  return absl::StrCat(planned.name, " ", planned.length,
                      task == "passkey" ? absl::StrCat(" depth ", s.depth, " trial ", s.trial)
                                        : absl::StrCat(" span ending at ", s.span_end));
}

// The requests, one after another.
class Run {
 public:
  Run(Client& client, const Setup& setup, const Interrupt& interrupt, ResultFile& file, bool quiet,
      const std::vector<Planned>& plan)
      : client_(client),
        setup_(setup),
        interrupt_(interrupt),
        file_(file),
        cost_(2.0 * static_cast<double>(setup.model.layers() * setup.model.heads() * setup.model.head_dim()) /
              std::max(1.0, 2.0 * static_cast<double>(setup.model.parameters()))) {
    for (const Planned& planned : plan) {
      if (!file.Has(planned.name, planned.length, planned.sample)) todo_.push_back(planned);
    }
    for (const Measurement& m : file.measurements()) cost_.Observe(m.length, m.seconds);
    const auto total = static_cast<int64_t>(plan.size());
    progress_.emplace(ProgressLine::StyleFor(quiet), total - n_todo(), total);
    if (n_todo() < total) {
      progress_->Note(absl::StrCat(total - n_todo(), " of ", total, " requests are finished in the result file"));
    }
  }

  absl::Status All() {
    for (; next_ < todo_.size(); ++next_) {
      if (refused_.contains({todo_[next_].name, todo_[next_].length})) continue;
      if (interrupt_.requested()) return absl::CancelledError("stopped");
      LH_RETURN_IF_ERROR(One(todo_[next_]));
    }
    return absl::OkStatus();
  }

  int64_t n_left() const { return static_cast<int64_t>(todo_.size() - next_); }
  bool all_refused() const { return !todo_.empty() && file_.measurements().empty(); }

 private:
  int64_t n_todo() const { return static_cast<int64_t>(todo_.size()); }

  double SecondsLeft(double share_of_this) const {
    double left = 0;
    for (size_t i = next_; i < todo_.size(); ++i) left += cost_.Seconds(todo_[i].length);
    return left == 0 ? -1 : left - share_of_this * cost_.Seconds(todo_[next_].length);
  }

  absl::Status One(const Planned& planned) {
    const std::string request = Describe(setup_.identity.task, planned);
    Measurement done;
    done.position = planned.name;
    done.length = planned.length;
    done.sample = planned.sample;
    double share = 0;
    const absl::Status status = setup_.task->Run(
        client_, planned.position,
        [&](int64_t read) {
          if (read > 0) share = cost_.ShareDone(read, planned.length);
          progress_->Running(request, share, SecondsLeft(share));
          return !interrupt_.requested();
        },
        done);
    if (interrupt_.requested()) return absl::CancelledError("stopped");
    if (absl::IsInvalidArgument(status) || absl::IsFailedPrecondition(status)) {
      const std::string message(status.message());
      progress_->Note(absl::StrCat(planned.name, " ", planned.length, ": refused: ", message));
      refused_.insert({planned.name, planned.length});
      file_.Refuse({planned.name, planned.length, message});
      return file_.Write();
    }
    LH_RETURN_IF_ERROR(status);
    if (done.engine_fingerprint != setup_.identity.engine_fingerprint) {
      return absl::FailedPreconditionError(absl::StrCat("the server has changed meanwhile: its fingerprint was ",
                                                        setup_.identity.engine_fingerprint, ", now it is ",
                                                        done.engine_fingerprint));
    }
    cost_.Observe(planned.length, done.seconds);
    const std::string result = setup_.task->Describe(done);
    const double seconds = done.seconds;
    LH_RETURN_IF_ERROR(file_.Add(std::move(done)));
    progress_->Finished(request, result, seconds, SecondsLeft(1));
    return absl::OkStatus();
  }

  Client& client_;
  const Setup& setup_;
  const Interrupt& interrupt_;
  ResultFile& file_;
  CostModel cost_;
  std::vector<Planned> todo_;
  size_t next_ = 0;
  std::set<std::pair<std::string, int64_t>> refused_;
  std::optional<ProgressLine> progress_;
};

absl::Status Report(const EvaluationOptions& options, const ResultFile& file) {
  const Identity& identity = file.identity();
  const std::vector<Cell> cells = Summarize(file.measurements(), identity.control_length());
  absl::PrintF("%s", TextForTerminal(stdout, TableText(identity, cells, file.refused())));
  std::fflush(stdout);
  if (!options.csv.empty()) {
    LH_RETURN_IF_ERROR(WriteFile("--csv", options.csv, CsvText(identity, cells, file.refused())));
  }
  if (options.plots.empty() || cells.empty()) return absl::OkStatus();
  const absl::Status status = Plot(identity.task, options.output, options.plots);
  if (status.ok() || options.must_plot) return status;
  if (!options.quiet) Warn(std::string(status.message()));
  return absl::OkStatus();
}

absl::Status EvaluateAt(Client& client, const EvaluationOptions& options, const Interrupt& interrupt) {
  Setup setup;
  LH_RETURN_IF_ERROR(Prepare(client, options, setup));
  if (!setup.has_control && options.task != "documents") {
    Warn(absl::StrCat("no control: ", setup.trained_length,
                      " tokens, the trained length, cannot be read in each span with these flags"));
  }
  LH_ASSIGN_OR_RETURN(ResultFile file,
                      ResultFile::Open(options.output, setup.identity, RunInfoOf(options, setup), setup.spans));
  const std::vector<Planned> plan = Plan(options, setup);
  absl::Status status;
  {
    Run run(client, setup, interrupt, file, options.quiet, plan);
    status = run.All();
    if (!status.ok()) {
      return absl::Status(status.code(), absl::StrCat(std::string(status.message()), "; ", run.n_left(), " of ",
                                                      plan.size(), " requests are left, ", options.output,
                                                      " holds the others: the same command goes on from there"));
    }
    if (run.all_refused()) {
      status =
          absl::InvalidArgumentError(absl::StrCat("the server refused every request: ", file.refused()[0].message));
    }
  }
  LH_RETURN_IF_ERROR(Report(options, file));
  return status;
}

}  // namespace

absl::Status Evaluate(const EvaluationOptions& options, Interrupt& interrupt) {
  std::unique_ptr<OwnServer> server;
  if (!options.model.empty()) {
    LH_ASSIGN_OR_RETURN(server, OwnServer::Start(options.server, options.model, options.server_flags, interrupt));
  }
  Client client(server == nullptr ? options.target : server->target());
  interrupt.SetAction([&client] { client.Cancel(); });
  absl::Status status = EvaluateAt(client, options, interrupt);
  interrupt.SetAction(nullptr);
  if (interrupt.requested() && !absl::IsCancelled(status) && !status.ok()) {
    status = absl::CancelledError(absl::StrCat("stopped: ", std::string(status.message())));
  }
  if (absl::IsUnavailable(status)) {
    const std::string hint = server == nullptr ? absl::StrCat("\nno longhaul-server answers at ", options.target,
                                                              "; --model FILE starts one for the evaluation")
                                               : absl::StrCat("\n", server->Obituary());
    status = absl::UnavailableError(absl::StrCat(std::string(status.message()), hint));
  }
  return status;
}

}  // namespace longhaul
