#!/usr/bin/env bash
# Installs what is missing, builds, runs every test.
set -euo pipefail
. "$(dirname "$0")/../deploy/common.sh"

"$repo/deploy/install_dependencies.sh" --tests
"$repo/deploy/fetch_model.sh" >/dev/null
python_venv
"$repo/deploy/install_python_client.sh"

say "Building (build/release)"
cd "$repo"
cmake --preset release -DLONGHAUL_BUILD_TESTS=ON -DLONGHAUL_BUILD_BENCHMARKS=ON || fail "CMake could not configure: the lines above name what is missing"
cmake --build --preset release --parallel 2 || fail "the build failed: the first error above says where"

say "Checking the wire and the arrows of the house"
# buf keeps its cache below HOME, which need not be writable.
HOME=$LONGHAUL_CACHE "$venv/bin/buf" lint proto || fail "buf lint: the lines above name what to change in proto/"
"$venv/bin/python" tests/check_arrows.py

say "Checking the files of the container image"
"$venv/bin/pytest" -q -p no:cacheprovider --timeout 300 tests/deploy || fail "the lines above name what to change in the image's files"

say "Running the C++ tests"
ctest --test-dir build/release --output-on-failure --parallel 2 || fail "a test failed: its output stands above"

say "Running the Python client against the real server"
"$venv/bin/pytest" -q -p no:cacheprovider --timeout 300 tests/end_to_end || fail "the Python client's tests failed"

say "Attacking the real server"
# A machine that stood still for a second is not the server's fault, twice it would be.
"$venv/bin/pytest" -q -p no:cacheprovider --timeout 300 --reruns 1 --only-rerun TooLate tests/hostile ||
  fail "an attack cost the server too much"

say "All tests passed"
