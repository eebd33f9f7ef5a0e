#!/usr/bin/env bash
# Compares real models with the independent forward pass of tests/oracle; README.md holds what came out. Takes about half an
# hour and 8 GB of memory.
#   tests/models/run.sh [NAME...]      names of deploy/fetch_model.sh; default: those below
set -euo pipefail
. "$(dirname "$0")/../../deploy/common.sh"
build=${LONGHAUL_BUILD:-$repo/build/release}
[ -x "$build/server/longhaul-server" ] || fail "$build/server/longhaul-server is missing: build first (README.md, Build by hand)"
[ $# -gt 0 ] || set -- qwen2.5-coder-0.5b qwen2.5-coder-1.5b

tools=$LONGHAUL_CACHE/model-tools
if [ ! -e "$tools/.complete" ]; then
  say "Installing NumPy and others into $tools"
  /usr/bin/python3 -m venv --clear "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check gguf==0.19.0 numpy==2.4.6 tokenizers==0.23.3
  touch "$tools/.complete"
fi
text=$("$repo/tests/quality/fetch_book.sh")
failed=0
for name in "$@"; do
  model=$("$repo/deploy/fetch_model.sh" "$name")
  checks=(plain greedy)
  [ "$name" != qwen2.5-coder-0.5b ] || checks+=(positions)
  start_server "$build" "$model" --compute-type f32 --kv-cache-type f32 --kv-cache-memory 2GiB
  LONGHAUL_BUILD=$build "$tools/bin/python" "$repo/tests/models/compare.py" "$target" "$model" "$text" "${checks[@]}" || failed=1
  stop_server
done
exit "$failed"
