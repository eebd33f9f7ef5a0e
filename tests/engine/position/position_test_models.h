#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <utility>

#include "engine/position/position_mode.h"
#include "engine/position/position_resolver.h"
#include "engine/position/rotary_plan.h"

// The vocabulary of the tests of position modes.
namespace longhaul {

inline ModelRotation Rotation(int64_t dims, double base, int64_t trained_length) {
  ModelRotation rotation;
  rotation.rotary_dims = dims;
  rotation.base = base;
  rotation.trained_length = trained_length;
  return rotation;
}

// The geometries of SmolLM2-135M and stories15M.
inline ModelRotation SmolLm2() {
  return Rotation(64, 100000, 8192);
}
inline ModelRotation Stories15M() {
  return Rotation(48, 10000, 256);
}

template <typename Kind>
PositionMode Mode(Kind kind) {
  PositionMode mode;
  mode.kind = std::move(kind);
  return mode;
}

inline PositionResolver Resolver(const ModelRotation& rotation,
                                 const PositionMode& default_mode = Mode(position::Rerope{.window = std::nullopt}),
                                 int64_t trained_length = 0) {
  auto resolver = PositionResolver::Create(rotation, default_mode, trained_length);
  EXPECT_TRUE(resolver.ok()) << resolver.status();
  return std::move(resolver).value();
}

// REQUIRES: it resolves.
inline ResolvedPosition Resolved(const PositionResolver& resolver, const PositionMode& mode, int64_t length) {
  auto resolved = resolver.Resolve(mode, length);
  EXPECT_TRUE(resolved.ok()) << resolved.status();
  return std::move(resolved).value();
}

// The plan of a mode for L tokens of a model.
template <typename Kind>
RotaryPlan PlanOf(const ModelRotation& rotation, Kind kind) {
  return Resolved(Resolver(rotation), Mode(std::move(kind)), 0).plan;
}

}  // namespace longhaul
