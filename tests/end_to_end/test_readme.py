"""The commands that the READMEs show are run as they stand there, and what the server's lists is all there is."""

import os
import re
import subprocess

import pytest

from real_server import BUILD, ROOT

# Sections whose commands ask a running server; those of the others start servers, containers or long runs.
SECTIONS = {
    "README.md": ("Serve and ask",),
    "client/README.md": ("Ask", "Questions over many documents", "Texts longer than the model was trained for"),
}


def section_texts():
    """The sections above, which must be there."""
    for file, titles in SECTIONS.items():
        texts = dict(text.split("\n", 1) for text in re.split(r"^## ", (ROOT / file).read_text(), flags=re.MULTILINE)[1:])
        yield from (texts[title] for title in titles)


def commands():
    """Every line `longhaul ...` of a block, without its comment; each once."""
    found = [
        re.sub(r"\s{2,}#.*", "", line)
        for text in section_texts()
        for line in re.findall(r"^    ((?:.* \| )?longhaul .*)$", text, re.MULTILINE)
    ]
    return list(dict.fromkeys(found))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files that the commands name."""
    made = tmp_path_factory.mktemp("readme")
    text = "The bridge over the river was opened in 1931. The town paid for it.\n" * 40
    for name in ("notes.txt", "book.txt", "handbook.txt", "notes/bridge.txt", "notes/river.txt"):
        (made / name).parent.mkdir(exist_ok=True)
        (made / name).write_text(text)
    return made


def test_there_are_commands():
    assert len(commands()) > 20


@pytest.mark.parametrize("command", commands())
def test_the_command_works(server, stub, folder, command):
    if "--max-tokens" not in command:
        command = re.sub(r"longhaul (generate|chat|ask) ", r"longhaul \1 --max-tokens 4 ", command)
    result = subprocess.run(
        ["bash", "-c", command], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
        env={**os.environ, "PATH": f"{BUILD / 'client'}:{os.environ['PATH']}", "LONGHAUL_TARGET": server.target})
    expected = 7 if "REQUEST_ID" in command else 0
    assert result.returncode == expected, result.stderr
    assert result.stdout or expected != 0


def test_every_flag_of_the_server_is_listed():
    printed = subprocess.run([BUILD / "server" / "longhaul-server", "--help"], capture_output=True, text=True, check=True)
    flags = set(re.findall(r"^  (?:-\w,)?(--[\w-]+)", printed.stdout, re.MULTILINE))
    text = (ROOT / "server" / "README.md").read_text()
    text = text[text.index("## Flags"):text.index("## Starting")]
    listed = set(re.findall(r"^\| .*?\|", text, re.MULTILINE))
    assert {flag for row in listed for flag in re.findall(r"--[\w-]+", row)} == flags
