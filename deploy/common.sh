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
