#!/usr/bin/env bash
# Address, undefined-behaviour and thread sanitizers over the unit tests, the fuzzed loader and one end-to-end run.
set -euo pipefail
. "$(dirname "$0")/../deploy/common.sh"

"$repo/deploy/install_dependencies.sh" --tests
model=$("$repo/deploy/fetch_model.sh")
cd "$repo"

say "Address and undefined-behaviour sanitizers"
cmake --preset asan >/dev/null || fail "CMake could not configure the asan preset"
cmake --build --preset asan --parallel 2 --target tests_unit longhaul-server longhaul ||
  fail "the asan build failed: the first error above says where"
ctest --test-dir build/asan --output-on-failure --parallel 2 --label-regex unit ||
  fail "a test failed under the address sanitizer: its output stands above"

say "One end-to-end run under the address sanitizer"
start_server build/asan "$model"
for request in "generate --max-tokens 8 --temperature 1 --seed 1" "chat --max-tokens 4" "tokenize" "score"; do
  # shellcheck disable=SC2086  # the flags are words of their own
  build/asan/client/longhaul $request --target "$target" "The lighthouse keeper counted the ships" >/dev/null ||
    fail "longhaul $request failed under the address sanitizer: the lines above say why"
done
stop_server || fail "the server did not end cleanly under the address sanitizer: its log stands above"

say "Thread sanitizer"
cmake --preset tsan >/dev/null || fail "CMake could not configure the tsan preset"
cmake --build --preset tsan --parallel 2 --target tests_threads ||
  fail "the tsan build failed: the first error above says where"
ctest --test-dir build/tsan --output-on-failure --parallel 2 --label-regex threads ||
  fail "a test failed under the thread sanitizer: its output stands above"

say "The sanitizers found nothing"
