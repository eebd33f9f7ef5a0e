#include "engine/model/model_file.h"

#include <algorithm>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/model/families/family.h"

namespace longhaul {
namespace {

bool AnyQuantized(const LayerTensors& layer) {
  const StoredLinear* const maps[] = {&layer.query_key_value, &layer.attention_output, &layer.gate_up, &layer.down};
  return std::ranges::any_of(maps, [](const StoredLinear* map) {
    return std::ranges::any_of(map->matrix, [](const StoredTensor& part) { return Info(part.tensor.type).quantized; });
  });
}

}  // namespace

absl::StatusOr<ModelFile> LoadModelFile(const std::string& path) {
  LH_ASSIGN_OR_RETURN(std::unique_ptr<Checkpoint> checkpoint, OpenCheckpoint(path));
  return LoadModelFile(std::move(checkpoint));
}

absl::StatusOr<ModelFile> LoadModelFile(std::unique_ptr<Checkpoint> checkpoint) {
  ModelFile model;
  LH_ASSIGN_OR_RETURN(model.config, ReadModelConfig(*checkpoint));
  TensorSource source(*checkpoint);
  LH_ASSIGN_OR_RETURN(model.tensors, FindFamily(model.config.architecture)->take_tensors(source, model.config));
  LH_RETURN_IF_ERROR(source.CheckAllUsed());
  for (const TensorEntry& tensor : checkpoint->tensors()) model.parameters += tensor.elements;
  model.layers_quantized = AnyQuantized(model.tensors.layers.front());
  model.checkpoint = std::move(checkpoint);
  return model;
}

}  // namespace longhaul
