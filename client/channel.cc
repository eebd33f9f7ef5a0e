#include "client/channel.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>

#include "absl/strings/ascii.h"
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

// The scheme prefix of a target: "dns:///", "ipv4:"; empty for a bare HOST:PORT.
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
  const auto wrong = [&](const char* why) {
    return absl::InvalidArgumentError(absl::StrCat("target ", Quoted(target), " is not HOST:PORT", why));
  };
  if (target.empty()) return absl::InvalidArgumentError("the target is empty; it must be HOST:PORT");
  if (target == "unix:") return wrong(" nor unix:PATH");
  if (IsUnix(target) || !Scheme(target).empty()) return target;
  if (target.find("://") != std::string::npos) return wrong("; it has no scheme such as http://");
  const std::string host(Host(target));
  const size_t end = host.size() + (target.starts_with('[') ? 2 : 0);
  const bool is_ipv6 = host.find(':') != std::string::npos;
  in6_addr address{};
  if (host.empty() || end > target.size() || (is_ipv6 && inet_pton(AF_INET6, host.c_str(), &address) != 1)) {
    return wrong("");
  }
  if (end == target.size()) {
    return absl::StrCat(is_ipv6 ? "[" : "", host, is_ipv6 ? "]" : "", ":", std::string(kDefaultPort));
  }
  const std::string port = target.substr(end + 1);
  int number = 0;
  const bool digits = port.find_first_not_of("0123456789") == std::string::npos;
  if (target[end] != ':' || !digits || !absl::SimpleAtoi(port, &number) || number < 1 || number > 65535) {
    return wrong(" with a port of 1 to 65535");
  }
  return target;
}

bool IsLoopback(std::string_view target) {
  if (IsUnix(target)) return true;
  const std::string host = absl::AsciiStrToLower(std::string(Host(target.substr(Scheme(target).size()))));
  if (host == "localhost" || host == "ip6-localhost" || host.ends_with(".localhost")) return true;
  in_addr ipv4{};
  if (inet_pton(AF_INET, host.c_str(), &ipv4) == 1) {
    const uint32_t number = ntohl(ipv4.s_addr);
    return number >> 24 == 127 || number == INADDR_ANY;
  }
  in6_addr ipv6{};
  if (inet_pton(AF_INET6, host.c_str(), &ipv6) != 1) return false;
  return IN6_IS_ADDR_LOOPBACK(&ipv6) || IN6_IS_ADDR_UNSPECIFIED(&ipv6) ||
         (IN6_IS_ADDR_V4MAPPED(&ipv6) && ipv6.s6_addr[12] == 127);
}

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& target, grpc::ChannelArguments arguments) {
  arguments.SetMaxReceiveMessageSize(-1);
  // The longest pause between attempts to connect, so that a restarted server is found soon after a long outage.
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  if (IsLoopback(target)) arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments);
}

std::string ProxyHint(std::string_view target) {
  if (IsLoopback(target)) return "";
  const std::string host(Host(target.substr(Scheme(target).size())));
  // gRPC reads these variables, in this order.
  const char* const exceptions = FirstSet({"no_grpc_proxy", "no_proxy"});
  if (exceptions != nullptr) {
    for (const absl::string_view end : absl::StrSplit(std::getenv(exceptions), ',', absl::SkipWhitespace())) {
      if (absl::EndsWith(host, absl::StripAsciiWhitespace(end))) return "";
    }
  }
  const char* const variable = FirstSet({"grpc_proxy", "https_proxy", "http_proxy"});
  if (variable == nullptr) return "";
  // gRPC uses no other scheme. A user name and password before an '@' are not shown.
  constexpr std::string_view kScheme = "http://";
  std::string_view proxy = std::getenv(variable);
  if (!proxy.starts_with(kScheme)) return "";
  proxy.remove_prefix(std::max(kScheme.size(), proxy.find('@') + 1));
  return absl::StrCat("; $", variable, " sends the connection through ", Quoted(proxy),
                      ": where that is not wanted, put ", host, " into $no_proxy");
}

}  // namespace longhaul
