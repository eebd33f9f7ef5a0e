#pragma once

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "longhaul/v1/admin.pb.h"
#include "longhaul/v1/inference.pb.h"

// Plain structs of the engine to messages of the wire and back. Of a request only what the engine's types cannot say is
// checked here: INVALID_ARGUMENT names the field (see FieldError) where one of several must be given and none is, and
// where an enum or a number is beyond what the engine's holds. The rest is the engine's business.
namespace longhaul {

// The texts of a request are moved, not copied.
absl::StatusOr<Prompt> FromWire(v1::Prompt&& prompt);
absl::StatusOr<Contexts> FromWire(v1::Contexts&& contexts);
absl::StatusOr<GenerateParams> FromWire(v1::GenerateRequest&& request);
absl::StatusOr<ScoreParams> FromWire(v1::ScoreRequest&& request);

v1::Started ToWire(const Started& started);
v1::Finished ToWire(const Finished& finished);

// Fills a response with one event of a stream. `Event`s of the other kind of stream are left out.
void ToWire(const Event& event, v1::GenerateResponse& response);
void ToWire(const Event& event, v1::ScoreResponse& response);

// Appends a later chunk to an earlier message, so that a reader who fell behind gets both in one; false when they are
// not chunks of one answer and one document both, or the message has 256 KiB already.
bool Coalesce(const Event& event, v1::GenerateResponse& response);
bool Coalesce(const Event& event, v1::ScoreResponse& response);

v1::RequestInfo ToWire(const RequestInfo& info);
v1::GetModelResponse ToWire(const ModelInfo& model, const EngineStats& stats);

}  // namespace longhaul
