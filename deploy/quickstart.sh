#!/usr/bin/env bash
# From nothing to an answer: installs what is missing, builds, fetches the default model, starts a server on a free port
# of this machine, asks it a question, and stops it again.
#   deploy/quickstart.sh ["a question"]
set -euo pipefail
. "$(dirname "$0")/common.sh"
question=${1:-"In two sentences: why does a lighthouse have a rotating lens?"}

"$repo/deploy/install_dependencies.sh"

say "Building the server and the command line (build/release)"
cd "$repo"
cmake --preset release -DLONGHAUL_BUILD_TESTS=OFF ||
  fail "CMake could not configure: the lines above name what is missing"
cmake --build --preset release --parallel "$(nproc)" --target longhaul-server longhaul || fail "the build failed: the first error above says where"

model=$("$repo/deploy/fetch_model.sh")

say "Starting longhaul-server"
state=$(mktemp -d)
server=
cleanup() {
  if [ -n "$server" ]; then
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$state"
}
trap cleanup EXIT
build/release/server/longhaul-server --model "$model" --listen 127.0.0.1:0 --port-file "$state/port" 2>"$state/log" &
server=$!
for _ in $(seq 100); do
  [ -s "$state/port" ] && break
  kill -0 "$server" 2>/dev/null || { cat "$state/log" >&2; fail "the server ended: its log stands above"; }
  sleep 0.1
done
[ -s "$state/port" ] || { cat "$state/log" >&2; fail "the server did not open its port in 10 seconds"; }
target=127.0.0.1:$(cat "$state/port")
serving=
for _ in $(seq 100); do
  build/release/client/longhaul info --target "$target" >"$state/info" 2>&1 && { serving=yes; break; }
  sleep 0.1
done
[ -n "$serving" ] || { cat "$state/info" "$state/log" >&2; fail "the server did not serve in 10 seconds"; }

say "$question"
build/release/client/longhaul chat --target "$target" "$question" ||
  { cat "$state/log" >&2; fail "the server did not answer: its log stands above"; }

cat <<EOF

==> It works. By hand:
    build/release/server/longhaul-server --model $model
    build/release/client/longhaul generate "Once upon a time"
    build/release/client/longhaul --help
EOF
