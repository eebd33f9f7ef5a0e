#pragma once

#include <string>

#include "engine/engine.h"
#include "engine/telemetry/telemetry.h"
#include "server/metrics/metric_family.h"

namespace longhaul {

// Appends what an engine counts and what it is doing, each series with the label model_name: one of every combination
// of label values, those at 0 too.
void CollectEngine(const std::string& model_name, const Telemetry& telemetry, const EngineStats& stats,
                   MetricFamilies& families);

}  // namespace longhaul
