#pragma once

#include "server/metrics/metric_family.h"

namespace longhaul {

// Appends process_*, as the conventions of Prometheus' client libraries name them, of this process from /proc/self;
// nothing while that cannot be read.
void CollectProcess(MetricFamilies& families);

}  // namespace longhaul
