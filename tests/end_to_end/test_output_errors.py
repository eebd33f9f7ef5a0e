"""Standard output that cannot be written: a full disk, a closed pipe, a closed descriptor."""

import os
import subprocess

import pytest

from real_server import BUILD

PROGRAM = BUILD / "client" / "longhaul"
# The first two ask the server.
COMMANDS = [
    [PROGRAM, "generate", "Once upon a time", "--max-tokens", "8"],
    [PROGRAM, "generate", "Once upon a time", "--max-tokens", "8", "--json"],
    [PROGRAM, "chat", "Say hello.", "--max-tokens", "8"],
    [PROGRAM, "ask", "/etc/os-release", "--question", "Which system is it?", "--max-tokens", "8"],
    [PROGRAM, "tokenize", "hello"], [PROGRAM, "detokenize", "28120"], [PROGRAM, "score", "hello there"],
    [PROGRAM, "warm", "hello there"], [PROGRAM, "info"], [PROGRAM, "info", "--json"],
    [PROGRAM, "info", "--position", "yarn"], [PROGRAM, "ps"],
    [PROGRAM, "--help"], [PROGRAM, "generate", "--help"], [PROGRAM, "--version"],
    [BUILD / "client" / "longhaul-bench", "--help"],
    [BUILD / "client" / "longhaul-bench", "--concurrency", "1", "--requests", "1", "--warmup", "0s", "--prompts", "8",
     "--output-tokens", "2", "--quiet"],
    [PROGRAM, "cancel", "nobody", "--json"],
    [BUILD / "server" / "longhaul-server", "--help"], [BUILD / "server" / "longhaul-server", "--version"],
]


@pytest.fixture
def environment(server, stub, monkeypatch):
    monkeypatch.setenv("LONGHAUL_TARGET", server.target)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(map(str, command[1:])))
def test_a_full_disk_is_an_error(environment, command):
    with open("/dev/full", "w") as full:
        result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE, text=True,
                                timeout=60)
    assert result.returncode == 1
    assert "cannot write standard output: No space left on device" in result.stderr
    assert "CANCELLED" not in result.stderr


@pytest.mark.parametrize("command", COMMANDS[:2], ids=["text", "json"])
def test_a_pipe_that_was_closed_is_no_news(environment, command):
    running = subprocess.Popen([*command, "--quiet"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    running.stdout.close()
    assert running.stderr.read() == b""
    assert running.wait(60) in (-13, 141)
    running.stderr.close()


def test_a_closed_standard_output_gets_no_socket_in_its_place(environment):
    result = subprocess.run(["bash", "-c", f'"{PROGRAM}" info >&-'], capture_output=True, text=True, timeout=60)
    assert result.returncode == 1 and "cannot write standard output: Bad file descriptor" in result.stderr


def bench(environment, json, **more):
    return subprocess.run([BUILD / "client" / "longhaul-bench", "--concurrency", "1", "--requests", "1", "--warmup", "0s",
                           "--prompts", "8", "--output-tokens", "2", "--quiet", "--json", json],
                          capture_output=True, text=True, timeout=60, **more)


def test_a_link_a_pipe_and_a_device_are_written_to_and_not_replaced(environment, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "real.json")
    (tmp_path / "real.json").write_text("old")
    assert bench(environment, tmp_path / "link").returncode == 0
    assert (tmp_path / "link").is_symlink() and "longhaul-bench-1" in (tmp_path / "real.json").read_text()
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE, text=True) as reader:
        assert bench(environment, tmp_path / "pipe").returncode == 0
        assert "longhaul-bench-1" in reader.stdout.read()
    assert (tmp_path / "pipe").is_fifo()
    (tmp_path / "full").symlink_to("/dev/full")  # not by its own name: it must outlive a mistake
    result = bench(environment, tmp_path / "full")
    assert result.returncode == 1 and "No space left on device" in result.stderr


def test_evaluate_tells_a_full_disk_too(environment, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("One two three four five six seven eight. " * 20)
    with open("/dev/full", "w") as full:
        result = subprocess.run([PROGRAM, "evaluate", "--text", text, "--lengths", "64", "--positions", "none", "--spans",
                                 "1", "--quiet", "--plot", tmp_path / "p.svg", "--output", tmp_path / "out.json"],
                                stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, cwd=tmp_path)
    assert result.returncode == 1 and "cannot write standard output: No space left on device" in result.stderr
