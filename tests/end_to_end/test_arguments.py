"""How the programs read their command lines."""

import os
import subprocess

import pytest

from real_server import BUILD
from terminal import Terminal

PROGRAM = BUILD / "client" / "longhaul"
PROGRAMS = [PROGRAM, BUILD / "client" / "longhaul-bench", BUILD / "server" / "longhaul-server"]


def answer(result):
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("flags", [("--stop", "."), ("--stop-token-id", "30"), ("--logit-bias", "30=-100")])
def test_an_option_takes_one_value_each_time(longhaul, flags):
    prompt = "The capital of France is"
    before = answer(longhaul("generate", "--max-tokens", "4", *flags, prompt))
    assert before == answer(longhaul("generate", prompt, "--max-tokens", "4", *flags, *flags))


def test_a_question_may_follow_any_option(longhaul, tmp_path):
    (tmp_path / "a.txt").write_text("The bridge was opened in 1931.")
    (tmp_path / "b.txt").write_text("Cows eat grass.")
    a, b, question = str(tmp_path / "a.txt"), str(tmp_path / "b.txt"), "When was the bridge opened?"
    short = ("--max-tokens", "4", "--quiet")
    expected = answer(longhaul("ask", "--documents", a, b, question, *short))
    for arguments in (("--documents", a, b, "--stop", ".", question), (question, "--documents", a, b), (a, b, question),
                      (a, "--documents", b, "--question", question), ("--documents", b, "--", a, question)):
        result = longhaul("ask", *short, *arguments)
        assert "bridge" in answer(result), arguments
    assert expected == answer(longhaul("ask", *short, "--question", question, a, b))
    for question in ("[why, how]", "[]"):
        assert longhaul("ask", *short, a, question).returncode == 0, "a question in brackets is no list"
    assert "tokens read" in answer(longhaul("warm", "--documents", a, b))
    assert "tokens read" in answer(longhaul("warm", a, b, question))
    assert "bridge" in answer(longhaul("ask", "--long-document", a, question, *short))


@pytest.mark.parametrize("arguments", [
    ("ask", "--documents", "a.txt", "typo.txt"), ("ask", "a.txt", "typo.txt"), ("ask", "--documents", "a.txt", "b/c"),
    ("warm", "--documents", "a.txt", "typo.txt"), ("ask", "--question", "Why?", "a.txt", "typo"),
    ("ask", "--long-document", "a.txt", "typo.txt", "Why?"), ("ask", "--long-document", "a.txt", "typo.txt"),
    ("warm", "--documents", "a.txt", "--prompt-file", "typo"), ("ask", "--documents", "missing*.txt", "Why is it?"),
])
def test_a_misspelt_file_is_no_question(longhaul, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("A text.")
    result = longhaul(*arguments, stdin="Why?")
    assert result.returncode == 2 and not result.stdout
    assert any(word in result.stderr for word in ("typo", "b/c", "missing*.txt")), result.stderr


@pytest.mark.parametrize("arguments,named", [
    (("generate", ""), "prompt"), (("chat", ""), "prompt"), (("score", ""), "prompt"), (("tokenize", ""), "prompt"),
    (("warm", ""), "prompt"), (("ask", "--documents", "/dev/null", ""), "prompt"),
    (("ask", "--documents", "/dev/null", "--question", ""), "--question"),
    (("generate", "--prompt-file", ""), "--prompt-file"), (("generate", "--prompt-file=", "x"), "--prompt-file"),
    (("generate", "x", "--position", ""), "--position"), (("generate", "x", "--request-id", ""), "--request-id"),
    (("ask", "--documents", ""), "--documents"), (("info", "--target", ""), "--target"), (("cancel", ""), "id"), (("evaluate", "--model", ""), "--model"),
])
def test_an_empty_argument_is_given(longhaul, arguments, named):
    """Nothing is read in its place: what standard input holds belongs to somebody else."""
    read_end, write_end = os.pipe()
    os.write(write_end, b"the next line of a loop\n")
    result = subprocess.run([PROGRAM, *arguments], stdin=read_end, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2 and named in result.stderr, result.stderr
    assert os.read(read_end, 100) == b"the next line of a loop\n"
    os.close(read_end)
    os.close(write_end)


@pytest.mark.parametrize("file", [(), ("--prompt-file", "-"), ("--prompt-file", "/dev/stdin")])
def test_a_terminal_is_told_that_it_is_read(server, stub, file):
    with Terminal([PROGRAM, "tokenize", "--target", server.target, *file]) as terminal:
        terminal.expect("from the terminal; Ctrl-D on an empty line ends it")
        terminal.send("hello\n")
        terminal.end_of_input()
        terminal.expect('28120\t"hello"')
        assert terminal.exit_code() == 0


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_tells_its_version_and_the_nearest_flag(program):
    version = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60)
    assert version.returncode == 0 and version.stdout.strip().split()[-1].count(".") == 2
    wrong = subprocess.run([program, "--versoin"], capture_output=True, text=True, timeout=60)
    assert wrong.returncode == 2 and "did you mean --version?" in wrong.stderr


@pytest.mark.parametrize("arguments,message", [
    (("genrate", "x"), "did you mean generate?"), (("generate", "x", "--max-token", "4"), "did you mean --max-tokens?"),
    (("generate", "x", "--seed", "-1"), "--seed"), (("generate", "x", "--seed", "18446744073709551616"), "--seed"),
    (("generate", "x", "--max-tokens", "0x10"), "--max-tokens"), (("generate", "x", "--top-p", "nan"), "--top-p"),
    (("generate", "Say", "hello"), "quotes"), (("info", "--target", "127.0.0.1:http"), "127.0.0.1:http"),
    (("info", "--target", "127.0.0.1:0"), "1 to 65535"), (("info", "--target", "http://127.0.0.1:1"), "no scheme"),
    (("generate", "x", "--temperature", "0x1"), "--temperature"), (("info", "--timeout", "0x10"), "--timeout"),
    (("generate", "x", "--logit-bias", "1=0x1p3"), "1=0x1p3"), (("evaluate", "--seed", "-1"), "--seed"),
    (("ask", "Why is it so?", "/etc/os-release"), "the question comes last"),
])
def test_a_wrong_word_is_told_with_what_was_meant(arguments, message):
    result = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=60)
    assert result.returncode == 2 and message in result.stderr, result.stderr


@pytest.mark.parametrize("program,arguments", [
    (BUILD / "client" / "longhaul-bench", ("--rate", "0x1")), (BUILD / "client" / "longhaul-bench", ("--seed", "-1")),
    (BUILD / "client" / "longhaul-bench", ("--rate", "1", "--duration", "0x1s")),
    (BUILD / "client" / "longhaul-bench", ("--rate", "1", "--slo", "ttft_p99=0x10ms")),
    (BUILD / "server" / "longhaul-server", ("--model", "m", "--drain-timeout", "0x10s")),
    (BUILD / "server" / "longhaul-server", ("--model", "m", "--threads", "0x2")),
])
def test_no_program_reads_hexadecimal_numbers(program, arguments):
    result = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60)
    assert result.returncode == 2 and arguments[-2] in result.stderr, result.stderr


def test_a_line_of_a_config_file_is_named_with_the_nearest_flag(tmp_path):
    (tmp_path / "server.ini").write_text("max-queu=3\n")
    result = subprocess.run([PROGRAMS[2], "--model", "m", "--config", tmp_path / "server.ini"], capture_output=True,
                            text=True, timeout=60)
    assert result.returncode == 2 and "did you mean --max-queue?" in result.stderr and "server.ini" in result.stderr


def test_numbers_are_decimal(longhaul):
    result = longhaul("generate", "Once upon a time", "--ignore-eos", "--max-tokens", "010")
    assert result.returncode == 0 and " 10 tokens" in result.stderr


def test_stop_texts_know_escapes(longhaul):
    text = "Write two lines.\n1. one\n"
    whole = answer(longhaul("generate", text, "--max-tokens", "12", "--keep-newline"))
    assert "\n" in whole.rstrip("\n")
    assert answer(longhaul("generate", text, "--max-tokens", "12", "--stop", "\\n")) == whole.split("\n")[0] + "\n"


def test_a_host_alone_takes_the_default_port():
    environment = {**os.environ, "LONGHAUL_TARGET": "127.0.0.1"}
    result = subprocess.run([PROGRAM, "info", "--timeout", "1"], capture_output=True, text=True, timeout=60,
                            env=environment)
    assert result.returncode in (4, 6) and "127.0.0.1:50051" in result.stderr, result.stderr
