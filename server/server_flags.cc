#include "server/server_flags.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <functional>
#include <map>

#include "absl/status/statusor.h"
#include "engine/base/command_line/command_line.h"
#include "engine/base/printable.h"
#include "engine/base/status_macros.h"
#include "proto/position_text.h"
#include "server/grpc/position_conversion.h"
#include "server/lifecycle/environment_check.h"

namespace longhaul {
namespace {

// --max-queue -> LONGHAUL_MAX_QUEUE
std::string EnvironmentName(std::string flag) {
  std::string name = "LONGHAUL_" + flag.substr(2);
  for (char& c : name) c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

template <typename T>
CLI::Option* Add(CLI::App& app, const std::string& flag, T& value, const std::string& help) {
  return app.add_option(flag, value, help)->envname(EnvironmentName(flag))->capture_default_str();
}

absl::StatusOr<PositionMode> ParseDefaultPosition(const std::string& text) {
  LH_ASSIGN_OR_RETURN(const v1::PositionMode mode, ParsePosition(text));
  if (mode.has_auto_()) return absl::InvalidArgumentError("auto is not allowed; it is what the default mode is for");
  return FromWire(mode);
}

// The environment's variables that are nearly a flag's.
std::vector<std::string> CheckEnvironmentOf(const CLI::App& app) {
  std::vector<std::string> known, environment;
  for (const CLI::Option* option : app.get_options()) known.push_back(option->get_envname());
  for (char** entry = environ; *entry != nullptr; ++entry) environment.emplace_back(*entry);
  return CheckEnvironment(environment, known);
}

// HOST:PORT with a numeric port, or unix:PATH.
std::string CheckListen(const std::string& address) {
  if (address.rfind("unix:", 0) == 0 && address != "unix:") return "";
  const size_t colon = address.rfind(':');
  const std::string port = colon == std::string::npos ? "" : address.substr(colon + 1);
  const bool digits = std::all_of(port.begin(), port.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!port.empty() && port.size() <= 5 && digits && std::stoi(port) <= 65535) return "";
  return "'" + address + "' is not HOST:PORT with a port of 0 to 65535";
}

// As CheckListen, but no path, and empty for none.
std::string CheckOptionalListen(const std::string& address) {
  const bool plain = std::all_of(address.begin(), address.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '.' || c == '-' || c == ':' || c == '[' || c == ']';
  });
  if (address.empty()) return "";
  if (plain && address.find(':') > 0 && address.rfind("unix:", 0) != 0) return CheckListen(address);
  return "'" + address + "' is not HOST:PORT with a port of 0 to 65535";
}

// A number, its unit already converted, from `low` to `high`; `allowed` says so in the flag's own units.
std::function<std::string(const std::string&)> Within(double low, double high, const char* allowed) {
  return [=](const std::string& value) {
    double number = 0;
    const bool valid = CLI::detail::lexical_cast(value, number) && number >= low && number <= high;
    return valid ? "" : value + " is not allowed; it must be " + allowed;
  };
}

const std::map<std::string, double> kSeconds = {{"ms", 0.001}, {"s", 1}, {"m", 60}, {"h", 3600}};

}  // namespace

std::optional<ServerFlags> ParseServerFlags(int argc, char** argv, int* exit_code) {
  ServerFlags flags;
  std::string compute_type = "auto", cache_type = "auto";
  std::string prefix_cache = "on";
  double step_seconds = 0, reserve_seconds = 5;
  double drain_seconds = 30, stall_seconds = 60, keepalive_seconds = 30, request_seconds = 0, receive_seconds = 30;
  CLI::App app{
      "Serves a language model over gRPC.\n"
      "  longhaul-server --model model.gguf\n"
      "  longhaul-server --model model.gguf --listen 0.0.0.0:50051 --kv-cache-memory 4GiB --max-queue 64\n"
      "Every flag but --help and --version is also an environment variable (LONGHAUL_MAX_QUEUE=64), and a line of a "
      "--config file (max-queue=64).\n"
      "SIGTERM ends the server when its running requests have finished; a second one at once."};
  // CLI11 looks at this variable only after it has read the file.
  const char* const config = std::getenv("LONGHAUL_CONFIG");
  const bool has_config = config != nullptr && *config != '\0';
  app.set_config("--config", has_config ? config : "", "a file of flags, one NAME=VALUE a line", has_config)
      ->envname(EnvironmentName("--config"))
      ->type_name("TEXT");
  app.allow_config_extras(CLI::config_extras_mode::error);

  Add(app, "--model", flags.engine.model_path, "the GGUF file to serve")->required();
  Add(app, "--listen", flags.server.listen, "HOST:PORT to listen on; port 0 takes a free one")
      ->check(CheckListen, "HOST:PORT");
  Add(app, "--metrics-listen", flags.metrics_listen,
      "HOST:PORT of an HTTP server for Prometheus: /metrics and /healthz; empty: none")
      ->type_name(kMayBeEmpty)
      ->check(CheckOptionalListen, "HOST:PORT");
  Add(app, "--health-listen", flags.health_listen,
      "HOST:PORT where grpc.health.v1 is served by itself, for probes; answers while --listen is flooded; empty: none")
      ->type_name(kMayBeEmpty)
      ->check(CheckOptionalListen, "HOST:PORT");
  Add(app, "--port-file", flags.port_file, "write the port that was bound into this file");
  Add(app, "--threads", flags.engine.threads, "threads of the CPU backend; 0: one per core")
      ->check(CLI::Range(0, 1024));
  Add(app, "--compute-type", compute_type, "what activations are rounded to in matrix products")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "int8"}));
  Add(app, "--kv-cache-type", cache_type, "what keys and values are rounded to")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "f16"}));
  uint64_t cache_bytes = 0, message_bytes = 0;
  Add(app, "--kv-cache-memory", cache_bytes,
      "memory of the KV cache, as in 4GiB; 0: a quarter of the machine's or container's")
      ->transform(Bytes(0, int64_t{1} << 50, "at most 1024TiB"));
  Add(app, "--max-queue", flags.engine.max_queue, "requests that may wait")->check(CLI::Range(1, 1000000));
  Add(app, "--max-batch-tokens", flags.engine.max_batch_tokens, "tokens of one step at most")
      ->check(CLI::Range(64, 8192));
  Add(app, "--max-rows", flags.engine.max_rows,
      "rows that run at a time, all answers and documents of a request together; 0: 257, or --max-batch-tokens where "
      "that is less")
      ->check(CLI::Range(0, 512));
  Add(app, "--step-target", step_seconds,
      "what a step in which answers are made should take at most, as in 30ms; 0s: 20ms or twice what the answers take; "
      "one in which none is made may take five times as long")
      ->transform(CLI::AsNumberWithUnit(kSeconds, CLI::AsNumberWithUnit::CASE_SENSITIVE, "TIME"))
      ->check(Within(0, 60, "0s to 60s"));
  Add(app, "--reserve-after", reserve_seconds,
      "after this, what becomes free of the KV cache is kept for the first of the queue")
      ->transform(CLI::AsNumberWithUnit(kSeconds, CLI::AsNumberWithUnit::CASE_SENSITIVE, "TIME"))
      ->check(Within(0, 1e6, "0s to 1e6s"));
  Add(app, "--prefix-cache", prefix_cache, "whether beginnings of texts that were read before are computed again")
      ->check(CLI::IsMember({"on", "off"}));
  Add(app, "--max-request-tokens", flags.engine.max_request_tokens, "tokens of prompt and answer together; 0: no bound")
      ->check(CLI::NonNegativeNumber);
  Add(app, "--max-request-time", request_seconds,
      "ends a request without a deadline after so long, as in 10m; 0s: never")
      ->transform(CLI::AsNumberWithUnit(kSeconds, CLI::AsNumberWithUnit::CASE_SENSITIVE, "TIME"))
      ->check(Within(0, 1e6, "0s to 1e6s"));
  Add(app, "--max-client-requests", flags.engine.max_client_requests,
      "requests that one client (x-client-id, else its address) may have at a time; 0: no limit")
      ->check(CLI::NonNegativeNumber);
  Add(app, "--max-client-queued-tokens", flags.engine.max_client_queued_tokens,
      "tokens of prompts, of all their rows, that one client may have in the queue; 0: no limit")
      ->check(CLI::NonNegativeNumber);
  Add(app, "--max-message-size", message_bytes,
      "of one gRPC message, as in 64MiB; 0: what a text takes that fills the KV cache, 9MiB to 257MiB")
      ->transform(Bytes(0, int64_t{2047} << 20, "0 or 1KiB to 2047MiB"))
      ->check([](const std::string& value) {
        return value == "0" || value.size() > 3 ? "" : "0 or 1KiB to 2047MiB are allowed";
      });
  FrontLimits& front = flags.server.front;
  Add(app, "--max-connections", front.max_connections,
      "connections at a time; 0: what the descriptors that the process may have allow, at most 4096")
      ->check(CLI::Range(0, 1000000));
  Add(app, "--max-connections-per-address", front.max_connections_per_address,
      "of them from one address; 0: a quarter of --max-connections")
      ->check(CLI::Range(0, 1000000));
  Add(app, "--max-streams", front.max_streams, "calls that are open at a time, half of them from one address")
      ->check(CLI::Range(2, 1000000));
  Add(app, "--max-connection-streams", front.max_connection_streams, "calls that are open on one connection")
      ->check(CLI::Range(1, 100000));
  Add(app, "--receive-timeout", receive_seconds,
      "how long a message may take to arrive, from its call's or its own beginning, as in 30s")
      ->transform(CLI::AsNumberWithUnit(kSeconds, CLI::AsNumberWithUnit::CASE_SENSITIVE, "TIME"))
      ->check(Within(0.1, 1e6, "100ms to 1e6s"));
  Add(app, "--drain-timeout", drain_seconds, "how long running requests may take to finish after SIGTERM, as in 30s")
      ->transform(CLI::AsNumberWithUnit(kSeconds, CLI::AsNumberWithUnit::CASE_SENSITIVE, "TIME"))
      ->check(Within(0, 1e6, "0s to 1e6s"));
  Add(app, "--stream-stall-timeout", stall_seconds, "how long a client may take nothing of its answer; 0s: for ever")
      ->transform(CLI::AsNumberWithUnit(kSeconds, CLI::AsNumberWithUnit::CASE_SENSITIVE, "TIME"))
      ->check(Within(0, 1e6, "0s to 1e6s"));
  Add(app, "--keepalive-time", keepalive_seconds, "a silent client is pinged after this, and gone without an answer")
      ->transform(CLI::AsNumberWithUnit(kSeconds, CLI::AsNumberWithUnit::CASE_SENSITIVE, "TIME"))
      ->check(Within(0.1, 1e6, "100ms to 1e6s"));
  Add(app, "--chat-template", flags.engine.chat_template, "chatml or llama3; by default what the file's template is")
      ->check(CLI::IsMember({"chatml", "llama3"}));
  Add(app, "--instruction-set", flags.instruction_set, "the CPU's instructions to use")
      ->check(CLI::IsMember({"auto", "avx512", "avx2", "portable"}));
  std::string default_position = PositionText(ToWire(flags.engine.default_position));
  Add(app, "--default-position", default_position,
      "how requests longer than the trained length are read that ask for no position mode, as in rerope:window=2048 or "
      "yarn; `longhaul generate --help` lists the modes. beta-mixed:b=0.75,factor=12,log-n=0 is the preset of the "
      "author's code")
      ->join(',');  // a line of a --config file is cut at commas
  Add(app, "--trained-length", flags.engine.trained_length, "the length that the model was trained for; 0: the file's")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40));
  Add(app, "--log-level", flags.log_level, "how much is logged")
      ->check(CLI::IsMember({"debug", "info", "warning", "error", "off"}));
  if (const std::optional<int> ended = ParseCommandLine(app, argc, argv); ended.has_value()) {
    *exit_code = *ended;
    return std::nullopt;
  }
  const absl::StatusOr<PositionMode> position = ParseDefaultPosition(default_position);
  if (!position.ok()) {
    std::cerr << "--default-position: " << Printable(std::string(position.status().message())) << "\n";
    *exit_code = 2;
    return std::nullopt;
  }
  flags.warnings = CheckEnvironmentOf(app);
  flags.engine.default_position = *position;
  flags.engine.compute_type = *ParseComputeType(compute_type);
  flags.engine.cache_type = *ParseCacheType(cache_type);
  flags.engine.kv_cache_bytes = static_cast<int64_t>(cache_bytes);
  flags.server.max_message_bytes = static_cast<int64_t>(message_bytes);
  const auto milliseconds = [](double seconds) {
    return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
  };
  flags.engine.step_target = milliseconds(step_seconds);
  flags.engine.reserve_after = milliseconds(reserve_seconds);
  flags.engine.prefix_cache = prefix_cache == "on";
  flags.engine.stream_stall_timeout = flags.server.stall_timeout = milliseconds(stall_seconds);
  flags.engine.max_request_time = milliseconds(request_seconds);
  front.receive_timeout = milliseconds(receive_seconds);
  front.send_timeout = milliseconds(stall_seconds);
  flags.server.keepalive_time = milliseconds(keepalive_seconds);
  flags.drain_timeout = milliseconds(drain_seconds);
  return flags;
}

}  // namespace longhaul
