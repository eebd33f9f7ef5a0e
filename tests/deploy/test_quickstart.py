"""That the programs which the quickstart names in its last words are built by it."""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def test_every_program_that_is_named_is_built():
    text = (ROOT / "deploy" / "quickstart.sh").read_text()
    built = re.search(r"cmake --build .* --target ([^|]+) \|\|", text)[1].split()
    last_words = text[text.index("==> It works"):]
    named = re.findall(r"^ +build/release/\w+/([\w-]+)", last_words, re.MULTILINE)
    assert set(named) == set(built) == {"longhaul-server", "longhaul", "longhaul-bench"}
