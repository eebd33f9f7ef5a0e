#pragma once

#include <prometheus/collectable.h>

#include <functional>
#include <optional>
#include <string>

#include "engine/base/mutex.h"
#include "engine/engine.h"
#include "server/front/front_limits.h"
#include "server/lifecycle/server_state.h"
#include "server/metrics/metric_family.h"
#include "server/metrics/rpc_metrics.h"

namespace longhaul {

// All metrics of a server. Before it has an engine, the engine's are at 0. Thread-safe.
class Metrics : public prometheus::Collectable {
 public:
  // `model_name`: the label of all longhaul_ series. `rpcs` and `front` are not owned; they and what `state` asks
  // outlive this.
  Metrics(std::string model_name, std::function<ServerState()> state, const RpcMetrics& rpcs, const FrontUse& front);

  // The engine has been loaded in so many seconds. Not owned; it outlives every Collect.
  void SetEngine(Engine& engine, double load_seconds);

  MetricFamilies Collect() const override;

 private:
  void CollectServer(const Engine* engine, double load_seconds, MetricFamilies& families) const;

  const std::string model_name_;
  const std::function<ServerState()> state_;
  const RpcMetrics& rpcs_;
  const FrontUse& front_;
  const Telemetry nothing_;  // until there is an engine
  mutable Mutex mutex_;
  Engine* engine_ ABSL_GUARDED_BY(mutex_) = nullptr;
  double load_seconds_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace longhaul
