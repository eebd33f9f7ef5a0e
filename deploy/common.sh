# Shared by the scripts of deploy/ and tests/: sourced, not run.
# shellcheck shell=bash

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export LONGHAUL_CACHE=${LONGHAUL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/longhaul}
export CCACHE_BASEDIR=${CCACHE_BASEDIR:-$repo}

say() { printf '\n==> %s\n' "$*"; }

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    fail "this step needs root: run the script as root, or install sudo"
  fi
}

# python_venv: a Python environment in the cache folder with what tests/requirements.txt pins; sets $venv.
python_venv() {
  venv=$LONGHAUL_CACHE/venv
  local wanted
  wanted=$(sha256sum "$repo/tests/requirements.txt" | cut -d' ' -f1)
  if [ "$(cat "$venv/.requirements" 2>/dev/null)" != "$wanted" ]; then
    say "Installing the Python tools into $venv"
    mkdir -p "$LONGHAUL_CACHE"
    /usr/bin/python3 -m venv --clear "$venv" ||
      fail "no Python environment could be made at $venv: is python3-venv installed (deploy/install_dependencies.sh)?"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$repo/tests/requirements.txt" ||
      fail "pip could not install tests/requirements.txt: is a package index reachable?"
    printf '%s' "$wanted" >"$venv/.requirements"
  fi
}

# start_server BUILD_FOLDER MODEL [FLAG...]: starts a longhaul-server on a free port of this machine and waits until it serves,
# at most $start_seconds; sets $target. It ends with the script at the latest.
server='' server_state='' start_seconds=60
start_server() {
  server_state=$(mktemp -d)
  trap 'stop_server >/dev/null || true; rm -rf "$server_state"' EXIT
  "$1/server/longhaul-server" --model "$2" --listen 127.0.0.1:0 --port-file "$server_state/port" \
    "${@:3}" 2>"$server_state/log" &
  server=$!
  local end=$((SECONDS + start_seconds))
  while [ "$SECONDS" -lt "$end" ]; do
    if ! kill -0 "$server" 2>/dev/null; then
      cat "$server_state/log" >&2
      server=''
      fail "the server ended: its log stands above"
    fi
    if [ -s "$server_state/port" ]; then
      target=127.0.0.1:$(cat "$server_state/port")
      "$1/client/longhaul" info --target "$target" >"$server_state/info" 2>&1 && return 0
    fi
    sleep 0.1
  done
  cat "$server_state/log" >&2
  [ -s "$server_state/port" ] || fail "the server did not open its port within $start_seconds seconds: its log stands above"
  fail "the server did not serve within $start_seconds seconds: its log stands above; longhaul info --target $target says:
$(cat "$server_state/info")"
}

# stop_server: asks it to drain; its exit code.
stop_server() {
  local code=0
  if [ -n "$server" ]; then
    kill "$server" 2>/dev/null || true
    wait "$server" || code=$?
    [ "$code" -eq 0 ] || cat "$server_state/log" >&2
    rm -rf "$server_state"
    server=''
  fi
  return "$code"
}
