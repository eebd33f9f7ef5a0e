#pragma once

#include "longhaul/v1/inference.pb.h"

// What the command line prints about position modes.
namespace longhaul {

// The lines of `longhaul info --position`.
void PrintPlan(const v1::ResolvedPlan& plan);

// A line per rotary pair: its index, radians per position, and that as a share of the model's own, `plain`.
void PrintFrequencies(const v1::ResolvedPlan& plan, const v1::ResolvedPlan& plain);

// On standard error: the mode that a request got, unless it is the model's own; and a warning where that mode is known
// to get worse at the request's length.
void PrintPositions(const v1::Started& started);

}  // namespace longhaul
