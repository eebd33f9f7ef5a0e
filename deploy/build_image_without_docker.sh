#!/usr/bin/env bash
# Builds the Dockerfile on a Debian machine that has neither Docker nor a registry, starts the image as compose.yaml would
# (its user, no privileges, a read-only root, namespaces of its own), asks it a question, and says its size. By hand, not in
# CI.
#   deploy/build_image_without_docker.sh [ARCHIVE.tar]
# ARCHIVE gets the image, for `docker load`. All else is removed at the end; it takes about 2 GB under $TMPDIR.
#   LONGHAUL_BASE_FILES=FOLDER  is copied over the root of the base image, for machines behind a mirror or a proxy
#                               (etc/apt/apt.conf.d/..., etc/resolv.conf); an ARCHIVE then holds it too
#   JOBS=N                      compile with N processes; by default one for each core
set -euo pipefail
. "$(dirname "$0")/common.sh"

[ "$(id -u)" -eq 0 ] || fail "this script mounts and changes roots: run it as root"
base_files=${LONGHAUL_BASE_FILES:-}
[ -z "$base_files" ] || [ -d "$base_files" ] || fail "LONGHAUL_BASE_FILES is no folder: $base_files"
[ $# -eq 0 ] || [ ! -e "$1" ] || fail "$1 exists: it would not be replaced"
if ! { command -v mmdebstrap && command -v buildah; } >/dev/null; then
  say "Installing mmdebstrap and buildah"
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends mmdebstrap buildah; } ||
    fail "apt-get could not install mmdebstrap and buildah"
fi
model=$("$repo/deploy/fetch_model.sh")

work=$(mktemp -d "${TMPDIR:-/tmp}/longhaul-image.XXXXXX")
container_process=''
clean_up() {
  [ -z "$container_process" ] || pkill -KILL --parent "$container_process" || true
  image umount --all >/dev/null 2>&1 || true
  rm -rf --one-file-system "$work"
}
trap clean_up EXIT

# vfs and chroot: nothing of the kernel or of the machine's configuration is needed.
image() { buildah --storage-driver vfs --root "$work/store" --runroot "$work/run" "$@"; }

# megabytes FOLDER: the size of the files in it.
megabytes() { du --summarize --block-size=1000000 --apparent-size "$1" | cut -f1; }

say "Making the base image"
# Under the name that the Dockerfile asks for, so that no registry is asked.
base=$(sed -n 's/^FROM \([^ ]*\).*/\1/p' "$repo/Dockerfile" | sort -u)
[[ $base =~ ^debian:([a-z]+)-slim$ ]] || fail "the Dockerfile's stages are not all built on one debian:RELEASE-slim: $base"
mkdir "$work/base"
# Without what slim images leave out: documentation, translations, and the Perl that would merge /bin and /usr/bin.
mmdebstrap --quiet --variant=minbase --mode=root ${base_files:+--customize-hook="copy-in $base_files/. /"} \
  --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr --include=usr-is-merged \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  "${BASH_REMATCH[1]}" "$work/base/root.tar" || fail "mmdebstrap could not make a Debian root: is a mirror reachable?"
printf 'FROM scratch\nADD root.tar /\n' >"$work/base/Dockerfile"
image bud --quiet --isolation chroot --tag "docker.io/library/$base" "$work/base" >/dev/null
rm -r "$work/base"

say "Building the image"
begin=$SECONDS
image bud --pull-never --isolation chroot --format docker --tag longhaul ${JOBS:+--build-arg "JOBS=$JOBS"} \
  --build-arg "REVISION=$(git -C "$repo" rev-parse HEAD 2>/dev/null || echo unknown)" "$repo" ||
  fail "the image could not be built: the lines above say where"
build_seconds=$((SECONDS - begin))

container=$(image from --pull-never longhaul)
root=$(image mount "$container")
size=$(megabytes "$root")
base_size=$(megabytes "$(image mount "$(image from --pull-never "$base")")")
uid=$(image run --isolation chroot "$container" -- id -u)

# config FIELD...: what the image says about how to run it, one word a line.
config() {
  image inspect --type image longhaul | python3 -c '
import json, sys
value = json.load(sys.stdin)["Docker"]["config"]
for field in sys.argv[1:]:
    value = value[field]
print("\n".join(value) if isinstance(value, list) else value)' "$@"
}
IFS=: read -r user group < <(config User)
folder=$(config WorkingDir)
mapfile -t variables < <(config Env)
mapfile -t entrypoint < <(config Entrypoint)
mapfile -t health_check < <(config Healthcheck Test)
health_check=("${health_check[@]:1}")  # without the word CMD

say "Starting a container"
# The server is its process 1; its network is a loopback device of its own.
# shellcheck disable=SC2016  # they are the inner shell's variables
root=$root models=$(dirname "$model") unshare --mount --pid --net --fork bash -euc '
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount --bind -o ro "$models" "$root/models"
    mount -o remount,bind,ro "$root"
    ip link set lo up
    exec chroot "$root" "$@"' - \
  setpriv --reuid "$user" --regid "$group" --clear-groups --no-new-privs --bounding-set=-all \
  env --ignore-environment --chdir="$folder" "${variables[@]}" "${entrypoint[@]}" \
  --model "$(basename "$model")" --kv-cache-memory 64MiB &
container_process=$!

# inside PROGRAM ARGUMENTS...: as `docker exec` would.
inside() {
  nsenter --target "$(pgrep --parent "$container_process")" --mount --pid --net --root --setgid "$group" --setuid "$user" \
    env --ignore-environment --chdir="$folder" "${variables[@]}" "$@"
}
for ((try = 0; ; ++try)); do
  kill -0 "$container_process" 2>/dev/null || fail "the server ended: its log stands above"
  inside "${health_check[@]}" >"$work/health" 2>&1 && break
  [ "$try" -lt 150 ] || { cat "$work/health" >&2; fail "the image's health check fails after 30 seconds"; }
  sleep 0.2
done
cat "$work/health"
if inside touch /usr/local/bin/written 2>/dev/null || inside touch /models/written 2>/dev/null; then
  fail "the container can write to its own root or to the models"
fi

question="In two sentences: why does a lighthouse have a rotating lens?"
say "$question"
inside longhaul chat "$question" || fail "the server in the image did not answer"

kill -TERM "$(pgrep --parent "$container_process")"
code=0
wait "$container_process" || code=$?
container_process=''
[ "$code" -eq 0 ] || fail "the server in the image ended with $code when it was asked to stop"

say "It works: user $uid, $size MB ($((size - base_size)) MB more than its base), built in $build_seconds s"
if [ $# -gt 0 ]; then
  image push --quiet longhaul "docker-archive:$1:longhaul:latest" || fail "the image could not be written to $1"
fi
