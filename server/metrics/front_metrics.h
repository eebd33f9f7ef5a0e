#pragma once

#include "server/front/front_limits.h"
#include "server/metrics/metric_family.h"

namespace longhaul {

// What a front has taken, refused and closed. `constant` labels come first on each series.
void CollectFront(const FrontUse& use, const MetricLabels& constant, MetricFamilies& families);

}  // namespace longhaul
