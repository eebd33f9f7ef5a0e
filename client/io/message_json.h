#pragma once

#include <google/protobuf/message.h>

#include <nlohmann/json.hpp>

namespace longhaul {

// A message as client/README.md says: every field under its name in the .proto, numbers as numbers.
nlohmann::ordered_json MessageJson(const google::protobuf::Message& message);

}  // namespace longhaul
