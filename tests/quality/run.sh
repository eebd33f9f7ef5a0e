#!/usr/bin/env bash
# Which position mode works on the default model (trained on 8,192 tokens) over a whole book: the evaluation whose outcome
# stands in README.md. Takes an hour or more; stop it with Ctrl-C and start it again as you like, it goes on where it was.
#   tests/quality/run.sh [FOLDER]      writes FOLDER/result.{json,csv,svg,png}; default build/quality
set -euo pipefail
. "$(dirname "$0")/../../deploy/common.sh"
folder=${1:-$repo/build/quality}
build=${LONGHAUL_BUILD:-$repo/build/release}
mkdir -p "$folder"
[ -x "$build/client/longhaul" ] || fail "$build/client/longhaul is missing: build first (README.md, Build by hand)"

"$repo/deploy/install_python_client.sh"
model=$("$repo/deploy/fetch_model.sh")
book=$("$repo/tests/quality/fetch_book.sh")

# evaluate FLAGS...: one part, into the same result.
evaluate() {
  "$build/client/longhaul" evaluate --model "$model" --text "$book" --score-tokens 2048 "$@" \
    --output "$folder/result.json" --csv "$folder/result.csv" --plot "$folder/result.svg" --plot "$folder/result.png" \
    -- --compute-type bf16 --kv-cache-type f16
}

say "4,096 to 16,384 tokens, three spans, every mode"
evaluate --lengths 4096,8192,16384 --spans 3 --positions none,rerope,leaky-rerope,yarn,ntk,ntk-fixed,beta-mixed
say "24,576 tokens, the last of the three spans, three modes"
evaluate --lengths 24576 --spans 1 --positions none,rerope,yarn
