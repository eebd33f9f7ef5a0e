#!/usr/bin/env bash
# Installs the Python package that draws the plots of `longhaul evaluate` and `longhaul-bench` (client/python) into a Python
# environment of its own in Longhaul's cache folder. Does nothing when this version of it is there.
set -euo pipefail
. "$(dirname "$0")/common.sh"

venv=$LONGHAUL_CACHE/client-venv
wanted=$(cd "$repo/client/python" && sha256sum pyproject.toml longhaul_plots/*.py | sha256sum | cut -d' ' -f1)
[ "$(cat "$venv/.installed" 2>/dev/null)" != "$wanted" ] || exit 0

say "Installing the plots into $venv"
mkdir -p "$LONGHAUL_CACHE"
/usr/bin/python3 -m venv --clear "$venv" ||
  fail "no Python environment could be made at $venv: is python3-venv installed (deploy/install_dependencies.sh)?"
# Built from a copy: setuptools writes beside the sources.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$repo/client/python" "$work/python"
"$venv/bin/pip" install --quiet --disable-pip-version-check "$work/python" ||
  fail "pip could not install client/python: is a package index reachable?"
printf '%s' "$wanted" >"$venv/.installed"
