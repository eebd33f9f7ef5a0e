"""Texts as users give them: files of other encodings, byte order marks, NUL bytes, line breaks, endless ones."""

import subprocess

import pytest

from real_server import BUILD

PROGRAM = BUILD / "client" / "longhaul"
WRONG = [
    ("caf\u00e9 au lait".encode("latin-1"), "at byte 3", "WINDOWS-1252"),
    ("a text".encode("utf-16"), "at byte 0", "UTF-16"),
    ("a text that is long enough".encode("utf-16-le"), "", "UTF-16"),
    ("a text".encode("utf-32"), "at byte 0", "UTF-32"),
    (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "at byte 10", "pdftotext"),
    (b"\x7fELF\x02\x01\x01\0\0\0\xff\xfe\0\0\0\0", "at byte 10", "binary"),
    (b"PK\3\4\x14\0\x06\0\x08\0\0\0\x21\0\xdf\xa4", "", "zip"),
]
COMMANDS = [("generate", "--prompt-file"), ("tokenize", "--prompt-file"), ("ask", "--documents"),
            ("ask", "--long-document"), ("warm", "--documents"), ("evaluate", "--text")]


@pytest.mark.parametrize("content,where,what", WRONG)
@pytest.mark.parametrize("command,flag", COMMANDS[:1])
def test_a_file_that_is_no_text_is_named_for_what_it_is(longhaul, tmp_path, content, where, what, command, flag):
    file = tmp_path / "notes.txt"
    file.write_bytes(content)
    result = longhaul(command, flag, str(file))
    assert result.returncode == 2 and not result.stdout
    assert f"{flag} {file}" in result.stderr and where in result.stderr and what in result.stderr, result.stderr


@pytest.mark.parametrize("command,flag", COMMANDS)
def test_every_command_checks_its_texts(longhaul, tmp_path, command, flag):
    file = tmp_path / "notes.txt"
    file.write_bytes("caf\u00e9 au lait".encode("latin-1"))
    more = {"ask": ("--question", "Why?"), "evaluate": ("--lengths", "64", "--quiet")}.get(command, ())
    result = longhaul(command, flag, str(file), *more)
    assert result.returncode == 2 and f"{flag} {file}" in result.stderr and "iconv" in result.stderr, result.stderr


@pytest.mark.parametrize("arguments", [("generate", b"caf\xe9"), ("cancel", b"caf\xe9"),
                                       ("warm", "/etc/os-release", b"caf\xe9"),
                                       ("ask", "/etc/os-release", "Why is it?", "--document-template", b"caf\xe9"), ("chat", "Hello", "--system", b"caf\xe9"),
                                       ("generate", "x", "--stop", b"caf\xe9")])
def test_arguments_that_are_no_text_are_named(longhaul, arguments):
    result = longhaul(*arguments)
    assert result.returncode == 2 and "UTF-8 at byte 3" in result.stderr, result.stderr


def test_a_prompt_may_begin_like_another_format(longhaul):
    assert longhaul("tokenize", "%PDF-1.7 is a header").returncode == 0


def test_a_byte_order_mark_is_no_part_of_the_text(longhaul, tmp_path):
    file = tmp_path / "notes.txt"
    file.write_bytes(b"\xef\xbb\xbfhello\r\n")
    assert longhaul("tokenize", "--prompt-file", str(file)).stdout == '28120\t"hello"\n'


def test_one_final_line_break_is_no_part_of_the_text(longhaul, tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("hello\n\n")
    assert longhaul("tokenize", "--prompt-file", str(file)).stdout == '28120\t"hello"\n198\t"\\n"\n'
    assert len(longhaul("tokenize", "--prompt-file", str(file), "--keep-newline").stdout.splitlines()) == 2
    assert '"\\n\\n"' in longhaul("tokenize", "--prompt-file", str(file), "--keep-newline").stdout
    assert longhaul("tokenize", stdin="hello\n").stdout == '28120\t"hello"\n'
    assert longhaul("tokenize", "--prompt-file", "-", stdin="hello\n").stdout == '28120\t"hello"\n'


def test_nul_bytes_survive(server, stub):
    def run(*arguments, **more):
        done = subprocess.run([PROGRAM, arguments[0], "--target", server.target, *arguments[1:]], capture_output=True,
                              timeout=60, **more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    ids = [line.split(b"\t")[0] for line in run("tokenize", input=b"a\0b").splitlines()]
    assert run("detokenize", *ids) == b"a\0b\n"


def test_standard_input_has_a_bound(longhaul):
    endless = subprocess.Popen(["yes"], stdout=subprocess.PIPE)
    result = subprocess.run([PROGRAM, "generate"], stdin=endless.stdout, capture_output=True, text=True, timeout=60)
    endless.kill()
    endless.wait()
    assert result.returncode == 2 and "standard input is larger than 256 MiB" in result.stderr


def test_standard_input_that_holds_nothing_is_told():
    result = subprocess.run([PROGRAM, "generate"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2 and "standard input holds nothing" in result.stderr


def test_a_folder_and_a_missing_file_are_named(longhaul, tmp_path):
    assert "Is a directory" in longhaul("generate", "--prompt-file", str(tmp_path)).stderr
    missing = tmp_path / "missing.txt"
    result = longhaul("ask", "--long-document", str(missing), "Why is it?")
    assert result.returncode == 2 and f"--long-document {missing}: No such file" in result.stderr
