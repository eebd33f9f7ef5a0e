#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/command_line/run_program.h"
#include "engine/base/instruction_set.h"
#include "engine/base/log.h"
#include "engine/base/start_thread.h"
#include "engine/base/status_macros.h"
#include "grpc/grpc.h"
#include "server/front/self_connection.h"
#include "server/health/health_endpoint.h"
#include "server/lifecycle/library_logs.h"
#include "server/lifecycle/machine_check.h"
#include "server/metrics/metrics.h"
#include "server/metrics/metrics_endpoint.h"
#include "server/server.h"
#include "server/server_flags.h"

namespace longhaul {
namespace {

constexpr int kExitFailure = 1;
constexpr std::chrono::seconds kSelfConnectionInterval{10}, kSelfConnectionTimeout{5};
constexpr const char* kStoppedWhileLoading = "stopped while loading";

// SIGTERM and SIGINT, taken by a thread of its own: the first one is waited for, the second one ends the process.
class Signals {
 public:
  // REQUIRES: no other thread runs yet, so that all inherit the blocked signals.
  Signals() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGTERM);
    sigaddset(&set_, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
    std::signal(SIGPIPE, SIG_IGN);  // a failed write reports an error instead
    StartThread("signals", [this] {
      int number = 0;
      sigwait(&set_, &number);
      received_ = true;
      received_.notify_all();
      if (!SecondWhileLoading()) sigwait(&set_, &number);
      std::_Exit(kExitFailure);  // at once: writing a log line could block
    }).detach();
  }

  void Wait() const { received_.wait(false); }
  bool received() const { return received_; }

  // From now on the first signal is left to whoever waits for it.
  void LoadingEnded() { loading_ = false; }

 private:
  // Loading stops by itself when a signal came, unless a disk hangs: nobody is served yet, and the process ends without
  // it. Returns whether a second signal came meanwhile.
  bool SecondWhileLoading() {
    constexpr timespec kPatience{.tv_sec = 0, .tv_nsec = 400'000'000};
    if (!loading_) return false;
    if (sigtimedwait(&set_, nullptr, &kPatience) > 0) return true;
    if (loading_) {
      LogInfo(kStoppedWhileLoading);
      FlushLog();
      std::_Exit(0);
    }
    return false;
  }

  sigset_t set_;
  std::atomic<bool> received_{false}, loading_{true};
};

int Fail(const absl::Status& status) {
  PrintError(absl::StrCat("longhaul-server: ", status.message()));
  return kExitFailure;
}

// Atomically: whoever waits for the file never reads half of it.
absl::Status WritePort(const std::string& path, int port) {
  const std::string partial = path + ".partial";
  std::ofstream(partial) << port << "\n";
  std::error_code error;
  std::filesystem::rename(partial, path, error);
  if (error) return absl::UnavailableError(absl::StrCat("--port-file: cannot write ", path, ": ", error.message()));
  return absl::OkStatus();
}

// Before the model is loaded, which takes time.
absl::StatusOr<std::vector<std::string>> CheckMachineFor(const ServerFlags& flags) {
  std::error_code error;
  const uintmax_t model_bytes = std::filesystem::file_size(flags.engine.model_path, error);
  const MachineUse use = {
      .model_bytes = error ? 0 : static_cast<int64_t>(model_bytes),
      .cache_bytes = KvCacheBytes(flags.engine),
      .message_bytes = flags.server.message_budget(),
      .threads = flags.engine.threads,
  };
  return CheckMachine(use, ThisMachine());
}

int Main(int argc, char** argv) {
  int exit_code = 0;
  const std::optional<ServerFlags> flags = ParseServerFlags(argc, argv, &exit_code);
  if (!flags.has_value()) return exit_code;
  const absl::StatusOr<std::vector<std::string>> machine_warnings = CheckMachineFor(*flags);
  if (!machine_warnings.ok()) return Fail(machine_warnings.status());
  // Outlives main: the thread that waits for signals never ends.
  static Signals& signals = *new Signals;
  FlushLogBeforeAbort();
  TakeOverLibraryLogs();
  // Without an end: gRPC's own waits up to 10 s for a poll that covered a half-written message and that nothing wakes.
  grpc_init();
  if (absl::Status status = SetLogLevel(flags->log_level); !status.ok()) return Fail(status);
  for (const std::string& warning : flags->warnings) LogWarning(warning);
  RaiseDescriptorLimit();
  for (const std::string& warning : *machine_warnings) LogWarning(warning);
  const absl::StatusOr<InstructionSet> instructions = ParseInstructionSet(flags->instruction_set);
  if (!instructions.ok()) return Fail(instructions.status());
  UseInstructionSet(*instructions);

  const auto begin = Clock::now();
  RpcMetrics rpc_metrics({v1::GenerateRequest::descriptor()->file(), v1::ListRequestsRequest::descriptor()->file()});
  ServerOptions server_options = flags->server;
  if (!flags->metrics_listen.empty()) server_options.rpc_metrics = &rpc_metrics;
  std::unique_ptr<HealthEndpoint> health;
  if (!flags->health_listen.empty()) {
    auto started = HealthEndpoint::Start(flags->health_listen, {"", v1::InferenceService::service_full_name()});
    if (!started.ok()) return Fail(started.status());
    health = *std::move(started);
    server_options.health = health.get();
    LogInfo("health on ", flags->health_listen, " (port ", health->port(), ")");
  }
  absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(server_options);
  if (!server.ok()) return Fail(server.status());
  const auto state = [&running = **server] { return running.state(); };
  const Front& front = (*server)->front();
  Metrics metrics(ReadModelName(flags->engine.model_path), state, rpc_metrics, front.use());
  std::optional<SelfConnection> self;
  std::unique_ptr<MetricsEndpoint> endpoint;
  if (!flags->metrics_listen.empty()) {
    self.emplace(front.address(), kSelfConnectionInterval, kSelfConnectionTimeout);
    const auto is_healthy = [state, &self = *self] {
      if (const ServerState now = state(); now != ServerState::kReady) {
        return absl::UnavailableError(kServerStateNames[static_cast<size_t>(now)]);
      }
      return self.status();
    };
    auto started = MetricsEndpoint::Start(flags->metrics_listen, metrics, is_healthy);
    if (!started.ok()) return Fail(started.status());
    endpoint = *std::move(started);
    LogInfo("metrics on ", flags->metrics_listen, " (port ", endpoint->port(), ")");
  }
  if (!flags->port_file.empty()) {
    FlushLog();  // whoever waits for the file may read the log next
    if (absl::Status status = WritePort(flags->port_file, (*server)->port()); !status.ok()) return Fail(status);
  }
  LogInfo("listening on ", flags->server.listen, " (port ", (*server)->port(), "), loading ", flags->engine.model_path);

  absl::StatusOr<std::unique_ptr<Engine>> engine = Engine::Create(flags->engine, [] { return signals.received(); });
  signals.LoadingEnded();
  if (absl::IsCancelled(engine.status())) {
    LogInfo(kStoppedWhileLoading);
    return 0;
  }
  if (!engine.ok()) return Fail(engine.status());
  const double load_seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  metrics.SetEngine(**engine, load_seconds);
  (*server)->Serve(**engine);
  // Both use the engine and must be destroyed before it.
  const absl::Cleanup stop = [&] {
    endpoint.reset();
    server->reset();
  };
  const ModelInfo& model = (*engine)->model();
  LogInfo("serving ", model.name, " (", model.file_type, ") after ", absl::StrFormat("%.3f", load_seconds),
          " s: products ", model.compute_type, ", KV cache ", model.cache_type, " for ", model.cache_tokens,
          " tokens, ", model.threads, " threads, ", model.instruction_set);

  signals.Wait();
  LogInfo("draining: no new requests, running ones have ", flags->drain_timeout.count(),
          " ms; a second signal ends them at once");
  const bool all_finished = (*server)->Drain(flags->drain_timeout);
  if (self.has_value()) self->Stop();
  LogInfo(all_finished ? "stopped" : "stopped; requests that took too long were ended");
  return 0;
}

}  // namespace
}  // namespace longhaul

int main(int argc, char** argv) {
  return longhaul::RunProgram(argc, argv, longhaul::Main);
}
