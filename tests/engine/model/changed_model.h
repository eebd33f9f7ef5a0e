#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tests/support/gguf_writer.h"

// What the tests of refusals share: a change to the tiny model, and what is said about it.
namespace longhaul {

using Change = std::function<void(GgufWriter&)>;

inline std::vector<std::byte> ChangedModel(const Change& change) {
  GgufWriter writer = TinyModel();
  change(writer);
  return writer.Build();
}

inline std::string Message(const absl::Status& status) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  return std::string(status.message());
}

struct Refusal {
  Change change;
  std::string message;
};

inline Change Uint(const char* key, uint32_t value) {
  return [=](GgufWriter& w) { w.SetUint32(key, value); };
}
inline Change Float(const char* key, float value) {
  return [=](GgufWriter& w) { w.SetFloat32(key, value); };
}
inline Change Bool(const char* key, bool value) {
  return [=](GgufWriter& w) { w.SetBool(key, value); };
}
inline Change String(const char* key, const char* value) {
  return [=](GgufWriter& w) { w.SetString(key, value); };
}
inline Change Without(const char* key) {
  return [=](GgufWriter& w) { w.RemoveKey(key); };
}

}  // namespace longhaul
