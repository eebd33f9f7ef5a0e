#include "client/channel.h"

#include <algorithm>
#include <cstdlib>
#include <initializer_list>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "engine/base/quoted.h"

namespace longhaul {
namespace {

constexpr std::string_view kDefaultPort = "50051";

bool IsUnix(std::string_view target) {
  return target.starts_with("unix:") || target.starts_with("unix-abstract:");
}

// What stands before the address: "dns:///", "ipv4:"; empty for a bare HOST:PORT.
std::string_view Scheme(std::string_view target) {
  for (const std::string_view scheme : {"dns:///", "dns:", "ipv4:", "ipv6:", "xds:"}) {
    if (target.starts_with(scheme)) return scheme;
  }
  return "";
}

// The host of HOST:PORT, HOST, [IPV6]:PORT or IPV6.
std::string_view Host(std::string_view address) {
  if (address.starts_with('[')) return address.substr(1, address.find(']') - 1);
  const size_t colon = address.find(':');
  return colon == address.rfind(':') ? address.substr(0, colon) : address;
}

// The first of these variables that is set and not empty, or null.
const char* FirstSet(std::initializer_list<const char*> names) {
  for (const char* const name : names) {
    const char* const value = std::getenv(name);
    if (value != nullptr && *value != '\0') return name;
  }
  return nullptr;
}

}  // namespace

absl::StatusOr<std::string> NormalTarget(const std::string& target) {
  if (target.empty()) return absl::InvalidArgumentError("the target is empty; it must be HOST:PORT");
  if (IsUnix(target) || !Scheme(target).empty()) return target;
  const std::string_view host = Host(target);
  const bool bracketed = target.starts_with('[');
  const std::string_view rest =
      std::string_view(target).substr(std::min(host.size() + (bracketed ? 2 : 0), target.size()));
  if (host.empty() || (!rest.empty() && !rest.starts_with(':'))) {
    return absl::InvalidArgumentError(absl::StrCat("target ", Quoted(target), " is not HOST:PORT"));
  }
  if (rest.empty()) {
    const bool is_ipv6 = host.find(':') != std::string_view::npos;
    return absl::StrCat(is_ipv6 ? "[" : "", std::string(host), is_ipv6 ? "]" : "", ":", std::string(kDefaultPort));
  }
  int port = 0;
  if (!absl::SimpleAtoi(std::string(rest.substr(1)), &port) || port < 1 || port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("target ", Quoted(target), " is not HOST:PORT with a port of 1 to 65535"));
  }
  return target;
}

bool IsLoopback(std::string_view target) {
  if (IsUnix(target)) return true;
  const std::string_view host = Host(target.substr(Scheme(target).size()));
  return host == "localhost" || host.ends_with(".localhost") || host == "::1" || host.starts_with("127.") ||
         host.starts_with("::ffff:127.");
}

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& target, grpc::ChannelArguments arguments) {
  arguments.SetMaxReceiveMessageSize(-1);
  // A server that is back after a restart is found soon, however long it was away.
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  if (IsLoopback(target)) arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments);
}

std::string ProxyHint(std::string_view target) {
  if (IsLoopback(target)) return "";
  const std::string host(Host(target.substr(Scheme(target).size())));
  // Names and order as gRPC has them.
  const char* const exceptions = FirstSet({"no_grpc_proxy", "no_proxy"});
  if (exceptions != nullptr) {
    for (const absl::string_view end : absl::StrSplit(std::getenv(exceptions), ',', absl::SkipWhitespace())) {
      if (absl::EndsWith(host, absl::StripAsciiWhitespace(end))) return "";
    }
  }
  const char* const proxy = FirstSet({"grpc_proxy", "https_proxy", "http_proxy"});
  if (proxy == nullptr) return "";
  return absl::StrCat("; $", proxy, " sends the connection through ", Quoted(std::getenv(proxy)),
                      ": where that is not wanted, put ", host, " into $no_proxy");
}

}  // namespace longhaul
