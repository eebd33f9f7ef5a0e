#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/model/gguf/gguf.h"
#include "engine/model/model_file.h"
#include "tests/support/gguf_writer.h"

namespace longhaul {

// A model over bytes that it keeps alive.
struct Loaded {
  explicit Loaded(const GgufWriter& writer) : bytes(writer.Build()) {
    auto checkpoint = ReadGguf(SourceOf(bytes, "m.gguf"));
    if (checkpoint.ok()) {
      model = LoadModelFile(*std::move(checkpoint));
    } else {
      model = checkpoint.status();
    }
  }

  std::vector<std::byte> bytes;
  absl::StatusOr<ModelFile> model;
};

inline std::string ErrorOf(const GgufWriter& writer) {
  const Loaded loaded(writer);
  return loaded.model.ok() ? "loaded" : std::string(loaded.model.status().message());
}

}  // namespace longhaul
