#!/usr/bin/env bash
# Fetches a book to read, the Jargon File 4.4.7 (public domain), out of the Debian package jargon-text into Longhaul's cache
# folder, makes it plain prose (plain_text.py) and checks both. Prints the path of the prose. Does nothing when it is there.
set -euo pipefail
. "$(dirname "$0")/../../deploy/common.sh"

original=40dfb4b98191a670a09a183d5798d50f243d23fdbd1495dcc0aca2ce5895ba97
prose=96e491833f5f08daa7f492549ddaba93e48eb981b8151b751d5e68f4fdd68944
book=$LONGHAUL_CACHE/texts/jargon-file.txt

is() { echo "$1  $2" | sha256sum --check --status 2>/dev/null; }

if ! is "$prose" "$book"; then
  say "Fetching the Jargon File into $LONGHAUL_CACHE/texts" >&2
  mkdir -p "$LONGHAUL_CACHE/texts"
  work=$(mktemp -d "$LONGHAUL_CACHE/texts/fetch.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  # Not installed, so that no root is needed and images that drop /usr/share/doc do not matter.
  (cd "$work" && apt-get download --quiet jargon-text >/dev/null 2>"$work/errors") || {
    cat "$work/errors" >&2
    fail "apt-get could not download jargon-text: has 'apt-get update' run, and is a Debian mirror reachable?"
  }
  dpkg-deb --fsys-tarfile "$work"/jargon-text_*.deb | tar -xO ./usr/share/doc/jargon-text/jargon.txt.gz |
    gzip -dc >"$work/jargon.txt"
  is "$original" "$work/jargon.txt" || fail "the book's SHA-256 is not $original: another version of jargon-text?"
  /usr/bin/python3 -X utf8 "$repo/tests/quality/plain_text.py" <"$work/jargon.txt" >"$work/prose.txt"
  is "$prose" "$work/prose.txt" || fail "the prose's SHA-256 is not $prose: plain_text.py makes another text here"
  mv "$work/prose.txt" "$book"
fi
echo "$book"
