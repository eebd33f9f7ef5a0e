// Every metric that a scrape must hold, written out by hand: names, types, labels, buckets.

#include "server/metrics/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "longhaul/v1/inference.pb.h"
#include "server/metrics/metrics_text.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/gguf_writer.h"

namespace longhaul {
namespace {

using ::testing::ContainerEq;
using ::testing::HasSubstr;

using Words = std::vector<std::string>;

Words Split(const std::string& text) {
  std::istringstream words(text);
  return {std::istream_iterator<std::string>(words), {}};
}

struct Label {
  std::string name;
  Words values;
};

struct Row {
  std::string name, type;
  std::vector<Label> labels;
  std::string buckets;
};

const char kT1[] = "0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10 20 40 80 160 320 640 1280 2560 7680";
const char kT2[] =
    "0.0005 0.001 0.0025 0.005 0.01 0.015 0.02 0.03 0.04 0.05 0.075 0.1 0.15 0.2 0.3 0.4 0.5 0.75 1 2.5 5 10 20 40 80";
const char kN[] =
    "16 32 64 128 256 512 1024 2048 4096 8192 16384 32768 65536 131072 262144 524288 1048576 2097152 4194304";
const char kR[] = "1 2 4 8 16 32 64 128 256 512";

const Label kMode = {
    "position_mode",
    Split("none linear ntk ntk_fixed beta_mixed yarn llama3 per_pair rerope leaky_rerope self_extend")};
const Label kDecoding = {"decoding", {"plain", "nbce"}};
const Label kReason = {"finish_reason", Split("stop length eos cancelled deadline stalled error unavailable")};
const Label kWhere = {"where", {"queue", "running"}};
const Label kKind = {"kind", {"prefill", "decode"}};

const std::vector<Row> kRows = {
    {"longhaul_time_to_first_token_seconds", "histogram", {kMode, kDecoding}, kT1},
    {"longhaul_inter_token_latency_seconds", "histogram", {kMode, kDecoding}, kT2},
    {"longhaul_request_time_per_output_token_seconds", "histogram", {kMode, kDecoding}, kT2},
    {"longhaul_request_duration_seconds", "histogram", {kMode, kDecoding, kReason}, kT1},
    {"longhaul_request_queue_time_seconds", "histogram", {kMode, kDecoding}, kT1},
    {"longhaul_request_prefill_time_seconds", "histogram", {kMode, kDecoding}, kT1},
    {"longhaul_request_decode_time_seconds", "histogram", {kMode, kDecoding}, kT1},
    {"longhaul_request_prompt_tokens", "histogram", {kMode, kDecoding}, kN},
    {"longhaul_request_generation_tokens", "histogram", {kMode, kDecoding}, kN},
    {"longhaul_request_contexts", "histogram", {}, kR},
    {"longhaul_prompt_tokens_total", "counter", {{"source", {"computed", "cached"}}}, ""},
    {"longhaul_generation_tokens_total", "counter", {}, ""},
    {"longhaul_requests_total", "counter", {{"method", {"Generate", "Score"}}, kMode, kDecoding, kReason}, ""},
    {"longhaul_admission_rejections_total",
     "counter",
     {{"reason", Split("queue_full too_long no_blocks quota draining no_memory")}},
     ""},
    {"longhaul_requests_running", "gauge", {}, ""},
    {"longhaul_requests_waiting", "gauge", {}, ""},
    {"longhaul_rows_running", "gauge", {}, ""},
    {"longhaul_kv_cache_usage_ratio", "gauge", {}, ""},
    {"longhaul_kv_cache_blocks", "gauge", {{"state", {"free", "held", "cached"}}}, ""},
    {"longhaul_prefix_cache_queries_total", "counter", {}, ""},
    {"longhaul_prefix_cache_hits_total", "counter", {}, ""},
    {"longhaul_prefix_cache_evictions_total", "counter", {}, ""},
    {"longhaul_preemptions_total", "counter", {}, ""},
    {"longhaul_step_seconds", "histogram", {{"phase", Split("schedule forward sample emit")}}, kT2},
    {"longhaul_step_tokens", "histogram", {kKind}, kN},
    {"longhaul_step_rows", "histogram", {kKind}, kR},
    {"longhaul_emit_cpu_seconds_total", "counter", {}, ""},
    {"longhaul_last_step_timestamp_seconds", "gauge", {}, ""},
    {"longhaul_context_switches_total", "counter", {}, ""},
    {"longhaul_nbce_fallbacks_total", "counter", {}, ""},
    {"longhaul_position_refits_total", "counter", {kMode}, ""},
    {"longhaul_deadline_expired_total", "counter", {kWhere}, ""},
    {"longhaul_stream_stalls_total", "counter", {kWhere}, ""},
    {"longhaul_server_state", "gauge", {{"state", {"loading", "ready", "draining"}}}, ""},
    {"longhaul_model_load_seconds", "gauge", {}, ""},
    {"longhaul_connections", "gauge", {}, ""},
    {"longhaul_streams", "gauge", {}, ""},
    {"longhaul_upload_bytes", "gauge", {}, ""},
    {"longhaul_connections_accepted_total", "counter", {}, ""},
    {"longhaul_connections_refused_total",
     "counter",
     {{"reason", Split("max_connections max_connections_per_address no_descriptor")}},
     ""},
    {"longhaul_connections_misbehaved_total",
     "counter",
     {{"reason", Split("not_http2 stalled frame_size headers streams resets control_frames")}},
     ""},
    {"longhaul_streams_refused_total",
     "counter",
     {{"reason", Split("streams message_size upload_memory compression receive_timeout")}},
     ""},
    {"longhaul_log_lines_dropped_total", "counter", {}, ""},
};

const Words kProcess = Split(
    "process_cpu_seconds_total process_open_fds process_max_fds process_virtual_memory_bytes "
    "process_virtual_memory_max_bytes process_resident_memory_bytes process_threads process_start_time_seconds");

// A text as Prometheus reads it.
struct Scrape {
  explicit Scrape(const std::string& text) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      if (line.rfind("# TYPE ", 0) == 0) {
        const Words words = Split(line);
        types[words[2]] = words[3];
      } else if (line.rfind("# ", 0) != 0) {
        const size_t space = line.rfind(' ');
        const bool is_new = values.emplace(line.substr(0, space), std::stod(line.substr(space + 1))).second;
        EXPECT_TRUE(is_new) << line;
      }
    }
  }

  // Of all that begins with it.
  double Sum(const std::string& prefix) const {
    double sum = 0;
    for (const auto& [series, value] : values) sum += series.rfind(prefix, 0) == 0 ? value : 0;
    return sum;
  }

  std::map<std::string, std::string> types;  // by family
  std::map<std::string, double> values;      // by series
};

// All label sets of a row, without the closing brace.
Words LabelSets(const Row& row) {
  Words sets = {"{model_name=\"a model\""};
  for (const Label& label : row.labels) {
    Words longer;
    for (const std::string& set : sets) {
      for (const std::string& value : label.values) longer.push_back(set + "," + label.name + "=\"" + value + "\"");
    }
    sets = longer;
  }
  return sets;
}

std::set<std::string> SeriesOf(const Row& row) {
  std::set<std::string> series;
  for (const std::string& labels : LabelSets(row)) {
    if (row.type != "histogram") {
      series.insert(row.name + labels + "}");
      continue;
    }
    series.insert(row.name + "_count" + labels + "}");
    series.insert(row.name + "_sum" + labels + "}");
    for (const std::string& bound : Split(std::string(row.buckets) + " +Inf")) {
      series.insert(row.name + "_bucket" + labels + ",le=\"" + bound + "\"}");
    }
  }
  return series;
}

class MetricsTest : public ::testing::Test {
 protected:
  ~MetricsTest() override {
    engine_.reset();
    if (!path_.empty()) std::filesystem::remove(path_);
  }

  void LoadEngine() {
    path_ = std::filesystem::temp_directory_path() / ("longhaul-metrics-" + std::to_string(getpid()) + ".gguf");
    const std::vector<std::byte> bytes = TinyModel().Build();
    std::ofstream(path_, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes));
    EngineOptions options;
    options.model_path = path_;
    options.threads = 1;
    options.kv_cache_bytes = 1 << 20;
    auto engine = Engine::Create(options);
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
    metrics_.SetEngine(*engine_, 1.5);
  }

  Scrape Take() const { return Scrape(MetricsText(metrics_.Collect())); }

  ServerState state_ = ServerState::kLoading;
  RpcMetrics rpcs_{{v1::GenerateRequest::descriptor()->file()}};
  FrontUse front_;
  Metrics metrics_{"a model", [this] { return state_; }, rpcs_, front_};
  std::filesystem::path path_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(MetricsTest, EverySeriesIsThereAtZeroFromTheStart) {
  const Scrape scrape = Take();
  std::set<std::string> expected;
  for (const Row& row : kRows) {
    EXPECT_EQ(scrape.types.count(row.name), 1u) << row.name;
    EXPECT_EQ(scrape.types.at(row.name), row.type) << row.name;
    expected.merge(SeriesOf(row));
  }
  std::set<std::string> actual;
  for (const auto& [series, value] : scrape.values) {
    if (series.rfind("longhaul_", 0) != 0) continue;
    actual.insert(series);
    EXPECT_EQ(value, series.find("state=\"loading\"") != std::string::npos ? 1 : 0) << series;
  }
  EXPECT_THAT(actual, ContainerEq(expected));
}

TEST_F(MetricsTest, RpcsAreNamedAsGoGrpcPrometheusNamesThem) {
  const Scrape scrape = Take();
  EXPECT_EQ(scrape.types.at("grpc_server_started_total"), "counter");
  EXPECT_EQ(scrape.types.at("grpc_server_handled_total"), "counter");
  EXPECT_EQ(scrape.types.at("grpc_server_handling_seconds"), "histogram");
  for (const std::string method :
       {R"(grpc_service="longhaul.v1.InferenceService",grpc_method="Generate",grpc_type="server_stream")",
        R"(grpc_service="longhaul.v1.InferenceService",grpc_method="Tokenize",grpc_type="unary")",
        R"(grpc_service="grpc.health.v1.Health",grpc_method="Check",grpc_type="unary")",
        R"(grpc_service="grpc.health.v1.Health",grpc_method="Watch",grpc_type="server_stream")",
        R"(grpc_service="grpc.reflection.v1alpha.ServerReflection",grpc_method="ServerReflectionInfo",)"
        R"(grpc_type="bidi_stream")"}) {
    EXPECT_EQ(scrape.values.at("grpc_server_started_total{" + method + "}"), 0);
    for (const std::string& code :
         Split("OK Canceled Unknown InvalidArgument DeadlineExceeded NotFound AlreadyExists PermissionDenied "
               "ResourceExhausted FailedPrecondition Aborted OutOfRange Unimplemented Internal Unavailable DataLoss "
               "Unauthenticated")) {
      EXPECT_EQ(scrape.values.at("grpc_server_handled_total{" + method + ",grpc_code=\"" + code + "\"}"), 0);
    }
    EXPECT_EQ(scrape.values.at("grpc_server_handling_seconds_bucket{" + method + ",le=\"7680\"}"), 0);
  }
}

TEST_F(MetricsTest, TheProcessTellsOfItself) {
  const Scrape scrape = Take();
  for (const std::string& name : kProcess) EXPECT_GT(scrape.values.at(name), 0) << name;
  EXPECT_EQ(scrape.types.at("process_cpu_seconds_total"), "counter");
  EXPECT_EQ(scrape.types.at("process_open_fds"), "gauge");
  const double now = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  EXPECT_NEAR(scrape.values.at("process_start_time_seconds"), now, 600);
  EXPECT_GT(scrape.values.at("process_virtual_memory_bytes"), scrape.values.at("process_resident_memory_bytes"));
}

TEST_F(MetricsTest, ALoadedModelSaysWhatItIs) {
  LoadEngine();
  state_ = ServerState::kReady;
  const std::string text = MetricsText(metrics_.Collect());
  const Scrape scrape(text);
  const ModelInfo& model = engine_->model();
  EXPECT_EQ(scrape.values.at("longhaul_build_info{model_name=\"a model\",version=\"" + model.version +
                             "\",backend=\"cpu\",isa=\"" + model.instruction_set + "\"}"),
            1);
  EXPECT_EQ(scrape.values.at("longhaul_model_info{model_name=\"a model\",name=\"" + model.name +
                             "\",architecture=\"llama\",quantization=\"" + model.file_type + "\",trained_length=\"" +
                             std::to_string(model.trained_length) + "\"}"),
            1);
  EXPECT_EQ(scrape.values.at("longhaul_cache_config_info{model_name=\"a model\",block_size=\"16\",num_gpu_blocks=\"" +
                             std::to_string(model.cache_tokens / 16) + "\"}"),
            1);
  EXPECT_EQ(scrape.values.at("longhaul_server_state{model_name=\"a model\",state=\"ready\"}"), 1);
  EXPECT_EQ(scrape.values.at("longhaul_server_state{model_name=\"a model\",state=\"loading\"}"), 0);
  EXPECT_EQ(scrape.values.at("longhaul_model_load_seconds{model_name=\"a model\"}"), 1.5);
}

TEST_F(MetricsTest, AnAnswerIsSeenInAllThatItTouches) {
  LoadEngine();
  GenerateParams params;
  params.prompt = TokenPrompt{{1, 2, 3, 4, 5}};
  params.stopping.max_tokens = 7;
  params.stopping.ignore_eos = true;
  const Outcome outcome = AnswerTo(*engine_, params);
  const Scrape scrape = Take();
  const std::string plain = R"({model_name="a model",position_mode="none",decoding="plain")";
  EXPECT_EQ(
      scrape.values.at("longhaul_requests_total{model_name=\"a model\",method=\"Generate\",position_mode=\"none\","
                       "decoding=\"plain\",finish_reason=\"length\"}"),
      1);
  EXPECT_EQ(scrape.Sum("longhaul_requests_total"), 1);
  EXPECT_EQ(scrape.values.at("longhaul_prompt_tokens_total{model_name=\"a model\",source=\"computed\"}"), 5);
  EXPECT_EQ(scrape.values.at("longhaul_generation_tokens_total{model_name=\"a model\"}"), 7);
  EXPECT_EQ(scrape.values.at("longhaul_inter_token_latency_seconds_count" + plain + "}"), 6);
  EXPECT_EQ(scrape.values.at("longhaul_request_prompt_tokens_bucket" + plain + ",le=\"16\"}"), 1);
  EXPECT_NEAR(scrape.values.at("longhaul_time_to_first_token_seconds_sum" + plain + "}"),
              outcome.finished.timings.first_token, 1e-9);
  EXPECT_NEAR(scrape.values.at("longhaul_request_decode_time_seconds_sum" + plain + "}"),
              outcome.finished.timings.decode, 1e-9);
  EXPECT_GT(scrape.values.at("longhaul_kv_cache_blocks{model_name=\"a model\",state=\"free\"}"), 0);
}

// What the scheduler, the prefix cache and NBCE count arrives too.
TEST_F(MetricsTest, EveryCounterOfTheEngineReachesItsSeries) {
  LoadEngine();
  Telemetry& telemetry = engine_->telemetry();
  telemetry.preemptions.Add(2);
  telemetry.prefix_cache_queries.Add(30);
  telemetry.prefix_cache_hits.Add(20);
  telemetry.prefix_cache_evictions.Add(4);
  telemetry.prompt_tokens[TokenSource::kCached].Add(50);
  telemetry.rejections[Rejection::kQuota].Add(6);
  telemetry.context_switches.Add(7);
  telemetry.nbce_fallbacks.Add(8);
  telemetry.contexts.Observe(9);
  telemetry.stream_stalls[RequestStage::kRunning].Add(10);
  telemetry.Of({.kind = position::Yarn()}, DecodingKind::kNbce).refits.Add(11);
  const Scrape scrape = Take();
  const std::map<std::string, double> expected = {
      {"longhaul_preemptions_total", 2},        {"longhaul_prefix_cache_queries_total", 30},
      {"longhaul_prefix_cache_hits_total", 20}, {"longhaul_prefix_cache_evictions_total", 4},
      {"longhaul_context_switches_total", 7},   {"longhaul_nbce_fallbacks_total", 8},
      {"longhaul_request_contexts_sum", 9},     {"longhaul_stream_stalls_total", 10},
      {"longhaul_position_refits_total", 11},   {"longhaul_admission_rejections_total", 6},
      {"longhaul_prompt_tokens_total", 50},
  };
  for (const auto& [name, value] : expected) EXPECT_EQ(scrape.Sum(name), value) << name;
  EXPECT_EQ(scrape.values.at("longhaul_position_refits_total{model_name=\"a model\",position_mode=\"yarn\"}"), 11);
  EXPECT_EQ(scrape.values.at("longhaul_prompt_tokens_total{model_name=\"a model\",source=\"cached\"}"), 50);
}

}  // namespace
}  // namespace longhaul
