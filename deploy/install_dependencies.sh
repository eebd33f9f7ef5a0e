#!/usr/bin/env bash
# Installs the Debian packages that building and testing need; does nothing when all are there.
#   deploy/install_dependencies.sh [--tests]
set -euo pipefail
. "$(dirname "$0")/common.sh"

packages=(
  build-essential cmake ninja-build ccache pkg-config ca-certificates
  libgrpc++-dev libprotobuf-dev protobuf-compiler protobuf-compiler-grpc libabsl-dev
  nlohmann-json3-dev libpcre2-dev libspdlog-dev libhwy-dev libcli11-dev libssl-dev libxxhash-dev
  libjemalloc-dev libmicrohttpd-dev libnghttp2-dev prometheus-cpp-dev
  python3 python3-pip python3-venv
)
if [ "${1:-}" = --tests ]; then
  packages+=(libbenchmark-dev libgtest-dev libgmock-dev prometheus)  # promtool
fi

missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

command -v apt-get >/dev/null || fail "apt-get is missing: install these by hand: ${missing[*]}"
say "Installing ${#missing[@]} Debian packages: ${missing[*]}"
as_root apt-get update -qq || fail "apt-get update failed: check the machine's package sources"
as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" ||
  fail "apt-get could not install: ${missing[*]} (Longhaul is built on Debian 12)"
