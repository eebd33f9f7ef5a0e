"""`longhaul chat` as a conversation before a terminal: what ends an answer does not end it."""

import contextlib
import json
import signal
import subprocess

import loopback
import pytest

from real_server import BUILD
from terminal import Terminal

LONGHAUL = BUILD / "client" / "longhaul"
AGAIN = "/retry sends it again.\n> "


@contextlib.contextmanager
def conversation(target, *flags):
    with Terminal([LONGHAUL, "chat", "--target", target, *flags]) as terminal:
        terminal.expect("/help says more.\n> ")
        yield terminal


def json_lines(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_a_deadline_is_said_and_asked_again(server, stub):
    with conversation(server.target, "--json", "--ignore-eos", "--max-tokens", "2500", "--timeout", "0.2") as terminal:
        for line in ("Say hello.\n", "/retry\n"):
            terminal.send(line)
            assert json_lines(terminal.expect(AGAIN))[-1]["error"]["code"] == "DEADLINE_EXCEEDED"
        # What has no whole answer is no part of what is sent the next time.
        terminal.send("/drop\n")
        terminal.expect("\n0 left.\n> ")
        terminal.end_of_input()
        assert terminal.exit_code() == 0


def test_a_prompt_that_is_too_long_says_what_to_drop(server, stub):
    # The cache holds 2,912 tokens: the first turn fits, with the second one it is too long.
    with conversation(server.target, "--max-tokens", "2870", "--stop", " ") as terminal:
        terminal.send("/drop\n")
        terminal.expect("0 left.\n> ")
        terminal.send("Say hello.\n")
        terminal.expect("]\n> ")
        terminal.send("And now something else.\n")
        said = terminal.expect("then /retry sends the last one again.\n> ")
        assert "--kv-cache-memory" in said and "/drop drops the oldest of 1 messages and its answer, 'Say hello.'" in said
        terminal.send("/drop\n")
        terminal.expect("Dropped: 'Say hello.'\n0 left.\n> ")
        terminal.send("/retry\n")
        assert "longhaul:" not in terminal.expect("]\n> ")
        terminal.send("/retry\n")
        terminal.expect("No message is without an answer.\n> ")
        terminal.send("word " * 700 + "\n")
        terminal.send("/drop\n")
        terminal.send("/retry\n")
        terminal.expect("There is nothing to drop: the message is too long by itself.\n> ")
        terminal.end_of_input()
        assert terminal.exit_code() == 0


def test_a_full_queue_and_a_restart_are_said(start_server, stubs):
    pb, rpc = stubs

    def serving(**more):
        running = start_server("--kv-cache-memory", "64MiB", "--max-queue", "1", "--max-rows", "1", **more)
        channel = loopback.channel(running.target)
        made = rpc.InferenceServiceStub(channel)
        running.wait_until_serving(made, pb)
        return running, made

    running, stub = serving()
    endless = pb.GenerateRequest(prompt=pb.Prompt(text="One"), stopping=pb.Stopping(max_tokens=2500, ignore_eos=True))
    with conversation(running.target, "--max-tokens", "4") as terminal:
        terminal.send("My name is Ada.\n")
        terminal.expect("]\n> ")
        runs = stub.Generate(endless)
        assert next(runs).HasField("started") and next(runs).HasField("chunk")
        waits = stub.Generate(endless)
        assert next(waits).HasField("started")
        terminal.send("Say hello.\n")
        assert "longhaul: " in terminal.expect(AGAIN) and "--max-queue" in terminal.output
        runs.cancel()
        waits.cancel()
        running.process.send_signal(signal.SIGKILL)
        running.process.wait()
        terminal.send("/retry\n")
        terminal.expect(AGAIN)
        serving(listen=running.target)
        terminal.send("/retry\n")
        # The connection is tried again once a second; until then it is the same message.
        while not terminal.expect("\n> ").endswith("]\n> "):
            terminal.send("/retry\n")
        terminal.end_of_input()
        assert terminal.exit_code() == 0


def test_ctrl_c_ends_the_line_and_twice_the_program(server, stub):
    with conversation(server.target, "--json", "--max-tokens", "4") as terminal:
        terminal.send("Say hello.\n")
        asked = json_lines(terminal.expect("\n> "))[0]["started"]["prompt_tokens"]
        terminal.send("/drop\n")
        terminal.expect("0 left.\n> ")
        terminal.send("never sent")
        terminal.expect("never sent")
        terminal.interrupt()
        terminal.expect("\nCtrl-C again ends the conversation.\n> ")
        terminal.send("Say hello.\n")
        assert json_lines(terminal.expect("\n> "))[0]["started"]["prompt_tokens"] == asked
        terminal.interrupt()  # not the second one: something was asked in between
        terminal.expect("\nCtrl-C again ends the conversation.\n> ")
        terminal.interrupt()
        assert terminal.exit_code() == 130


def test_ctrl_c_stops_an_answer_and_keeps_what_was_said(server, stub):
    with conversation(server.target, "--json", "--max-tokens", "2500", "--ignore-eos") as terminal:
        terminal.send("Count.\n")
        terminal.expect('{"chunk"')
        terminal.interrupt()
        assert json_lines(terminal.expect("\n> "))[-1]["error"]["code"] == "CANCELLED"
        terminal.send("/drop\n")
        terminal.expect("Dropped: 'Count.'\n0 left.\n> ")
        terminal.end_of_input()
        assert terminal.exit_code() == 0
    with conversation(server.target, "--max-tokens", "2500", "--ignore-eos") as terminal:
        terminal.send("Count.\n")
        terminal.expect("Count.\n")
        terminal.expect(" ")  # after the answer's first word
        terminal.interrupt()
        assert "whole answer" not in terminal.expect("\n> ")


def test_a_line_that_is_no_text_is_not_sent(server, stub):
    with conversation(server.target, "--max-tokens", "1") as terminal:
        terminal.send(b"caf\xe9\n")
        terminal.expect("Not sent: byte 3 of the line is not UTF-8.\n> ")
        terminal.send("x" * 5000 + "\n")
        terminal.expect("Not sent: a terminal cuts lines off at 4095 bytes")
        terminal.expect("\n> ")
        for text in ("/etc/passwd", "/drop it", "Grüße"):  # no commands
            terminal.send(text + "\n")
            terminal.expect("]\n> ")
        terminal.send("/drop 9\n")
        terminal.expect("Dropped: '/etc/passwd'\nDropped: '/drop it'\nDropped: 'Grüße'\n0 left.\n> ")
        terminal.send("/help\n")
        terminal.expect("/drop N")


@pytest.mark.parametrize("stdin", ["terminal", "pipe"])
def test_an_empty_argument_is_not_a_missing_one(server, stdin):
    arguments = [LONGHAUL, "chat", "--target", server.target, ""]
    if stdin == "terminal":
        with Terminal(arguments) as terminal:
            code, said = terminal.exit_code(), terminal.output
    else:
        done = subprocess.run(arguments, input="a line of somebody else", capture_output=True, text=True, timeout=60)
        code, said = done.returncode, done.stderr
    assert code == 2 and "prompt" in said


def test_a_pipe_is_one_message(longhaul):
    result = longhaul("chat", "--max-tokens", "4", stdin="Say\nhello.")
    assert result.returncode == 0 and ">" not in result.stderr and "4 tokens" in result.stderr
