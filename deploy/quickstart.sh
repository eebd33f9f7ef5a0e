#!/usr/bin/env bash
# From nothing to an answer: installs what is missing, builds, fetches the default model, starts a server on a free port
# of this machine, asks it a question, and stops it again.
#   deploy/quickstart.sh ["a question"]
set -euo pipefail
. "$(dirname "$0")/common.sh"
question=${1:-"In two sentences: why does a lighthouse have a rotating lens?"}

"$repo/deploy/install_dependencies.sh"

say "Building the server, the command line and the load generator (build/release)"
cd "$repo"
cmake --preset release -DLONGHAUL_BUILD_TESTS=OFF ||
  fail "CMake could not configure: the lines above name what is missing"
cmake --build --preset release --parallel "$(nproc)" --target longhaul-server longhaul longhaul-bench ||
  fail "the build failed: the first error above says where"

model=$("$repo/deploy/fetch_model.sh")

say "Starting longhaul-server"
start_server build/release "$model"

say "$question"
build/release/client/longhaul chat --target "$target" "$question" ||
  { cat "$server_state/log" >&2; fail "the server did not answer: its log stands above"; }
stop_server || fail "the server did not end cleanly: its log stands above"

cat <<EOF

==> It works. By hand:
    build/release/server/longhaul-server --model $model
    build/release/client/longhaul generate "Once upon a time"
    build/release/client/longhaul --help
    build/release/client/longhaul-bench --help
EOF
