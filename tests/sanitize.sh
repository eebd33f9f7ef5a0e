#!/usr/bin/env bash
# Address, undefined-behaviour and thread sanitizers over the unit tests, the fuzzed loader and one end-to-end run.
set -euo pipefail
. "$(dirname "$0")/../deploy/common.sh"

"$repo/deploy/install_dependencies.sh" --tests
"$repo/deploy/fetch_model.sh" >/dev/null
cd "$repo"

say "Address and undefined-behaviour sanitizers"
cmake --preset asan >/dev/null || fail "CMake could not configure the asan preset"
cmake --build --preset asan --parallel 2 --target tests_unit ||
  fail "the asan build failed: the first error above says where"
ctest --test-dir build/asan --output-on-failure --parallel 2 --label-regex unit ||
  fail "a test failed under the address sanitizer: its output stands above"

say "Thread sanitizer"
cmake --preset tsan >/dev/null || fail "CMake could not configure the tsan preset"
cmake --build --preset tsan --parallel 2 --target tests_threads ||
  fail "the tsan build failed: the first error above says where"
ctest --test-dir build/tsan --output-on-failure --parallel 2 --label-regex threads ||
  fail "a test failed under the thread sanitizer: its output stands above"

say "The sanitizers found nothing"
