#include "server/metrics/metrics.h"

#include <utility>

#include "engine/base/log.h"
#include "server/metrics/engine_metrics.h"
#include "server/metrics/front_metrics.h"
#include "server/metrics/process_metrics.h"

namespace longhaul {

using prometheus::MetricType;

Metrics::Metrics(std::string model_name, std::function<ServerState()> state, const RpcMetrics& rpcs,
                 const FrontUse& front)
    : model_name_(std::move(model_name)), state_(std::move(state)), rpcs_(rpcs), front_(front) {}

void Metrics::SetEngine(Engine& engine, double load_seconds) {
  MutexLock lock(mutex_);
  engine_ = &engine;
  load_seconds_ = load_seconds;
}

MetricFamilies Metrics::Collect() const {
  Engine* engine = nullptr;
  double load_seconds = 0;
  {
    MutexLock lock(mutex_);
    engine = engine_;
    load_seconds = load_seconds_;
  }
  MetricFamilies families;
  CollectEngine(model_name_, engine != nullptr ? engine->telemetry() : nothing_,
                engine != nullptr ? engine->Stats() : EngineStats(), families);
  CollectServer(engine, load_seconds, families);
  rpcs_.Collect(families);
  CollectProcess(families);
  return families;
}

void Metrics::CollectServer(const Engine* engine, double load_seconds, MetricFamilies& families) const {
  const MetricLabels model = {{"model_name", model_name_}};
  FamilyWriter states(families, "longhaul_server_state", "1 for what the server is doing.", MetricType::Gauge, model);
  const size_t state = static_cast<size_t>(state_());
  for (size_t i = 0; i < kServerStateNames.size(); ++i) {
    states.Gauge({{"state", kServerStateNames[i]}}, i == state ? 1 : 0);
  }
  FamilyWriter(families, "longhaul_model_load_seconds", "How long the model took to load.", MetricType::Gauge, model)
      .Gauge({}, load_seconds);
  CollectFront(front_, model, families);
  FamilyWriter(families, "longhaul_log_lines_dropped_total", "Lines of the log that standard error did not take.",
               MetricType::Counter, model)
      .Counter({}, static_cast<double>(LogLinesDropped()));
  // What their labels say is known once the model is there.
  if (engine == nullptr) return;
  const auto info = [&](const char* name, const char* help, const MetricLabels& labels) {
    FamilyWriter(families, name, help, MetricType::Gauge, model).Gauge(labels, 1);
  };
  const ModelInfo& loaded = engine->model();
  info("longhaul_build_info", "The program and what it runs on.",
       {{"version", loaded.version}, {"backend", loaded.backend}, {"isa", loaded.instruction_set}});
  info("longhaul_model_info", "The model.",
       {{"name", loaded.name},
        {"architecture", loaded.architecture},
        {"quantization", loaded.file_type},
        {"trained_length", std::to_string(loaded.trained_length)}});
  info("longhaul_cache_config_info", "The KV cache's shape, by the names that endpoint pickers read.",
       {{"block_size", std::to_string(loaded.block_tokens)},
        {"num_gpu_blocks", std::to_string(loaded.cache_tokens / loaded.block_tokens)}});
}

}  // namespace longhaul
