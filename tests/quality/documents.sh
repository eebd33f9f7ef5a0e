#!/usr/bin/env bash
# Questions over documents with the default model: in one prompt, and a row each (NBCE). Its outcome stands in README.md.
# Takes twenty minutes or more; stop it with Ctrl-C and start it again as you like, it goes on where it was.
#   tests/quality/documents.sh [FOLDER]      writes FOLDER/documents.{json,csv,svg,png}; default build/quality
set -euo pipefail
. "$(dirname "$0")/../../deploy/common.sh"
folder=${1:-$repo/build/quality}
build=${LONGHAUL_BUILD:-$repo/build/release}
mkdir -p "$folder"
[ -x "$build/client/longhaul" ] || fail "$build/client/longhaul is missing: build first (README.md, Build by hand)"

"$repo/deploy/install_python_client.sh"
model=$("$repo/deploy/fetch_model.sh")

# evaluate FLAGS...: one part, into the same result.
evaluate() {
  "$build/client/longhaul" evaluate --task documents --model "$model" "$@" --output "$folder/documents.json" \
    --plot "$folder/documents.svg" --plot "$folder/documents.png" -- --compute-type bf16 --kv-cache-type f16
}

say "0 to 64 documents, 50 questions"
evaluate --documents 0,1,4,16,64 --positions none,auto
say "16 documents, other parameters of NBCE"
evaluate --documents 16 --positions '' \
  --nbce beta=0,beta=0.5,beta=1,eta=0,eta=0.3,keep=0.8,keep=1,pooling=mean,pooling=max
