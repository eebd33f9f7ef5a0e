#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

// How a server is reached.
namespace longhaul {

// The target as gRPC takes it: HOST gets the default port 50051; unix:PATH and names with a scheme (dns:///...) stay.
// INVALID_ARGUMENT when it is empty or its port is not a valid number.
absl::StatusOr<std::string> NormalTarget(const std::string& target);

// Whether the target's name means this machine: a loopback or the unspecified address, localhost or a unix socket.
bool IsLoopback(std::string_view target);

// A channel with messages of any size, not encrypted. Loopback is reached directly, whatever proxy the environment
// names. REQUIRES: a target of NormalTarget.
std::shared_ptr<grpc::Channel> MakeChannel(const std::string& target, grpc::ChannelArguments arguments = {});

// What to add to the message of a call that did not come through: the variable of the environment that sends the target
// through a proxy. Empty where there is none.
std::string ProxyHint(std::string_view target);

}  // namespace longhaul
