"""What reaches a terminal, from a server that says whatever may drive one; and what a pipe gets of the same."""

import concurrent.futures
import os
import subprocess

import grpc
import pytest

from real_server import BUILD
from terminal import Terminal

LONGHAUL = BUILD / "client" / "longhaul"
ESCAPES = "\x1b]0;owned\x07\x1b[31m\r\x7f\u009b2J"
SHOWN = r"\x1b]0;owned\x07\x1b[31m\r\x7f\u009b2J"
ANSWER = "one\n\ttwo \x00 Grüße "


@pytest.fixture(scope="module")
def target(stubs, admin_stubs):
    """A server whose every text holds escape sequences."""
    (pb, rpc), (apb, arpc) = stubs, admin_stubs

    class Inference(rpc.InferenceServiceServicer):
        def GetModel(self, request, context):
            return pb.GetModelResponse(name=f"model\nforged {ESCAPES}", architecture=ESCAPES, vocabulary_size=100,
                                       version="1", trained_length=100)

        def Detokenize(self, request, context):
            return pb.DetokenizeResponse(text=ANSWER + ESCAPES)

        def Tokenize(self, request, context):
            return pb.TokenizeResponse(ids=[1], pieces=[ESCAPES.encode()])

        def Generate(self, request, context):
            if request.priority == 7:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"bad {ESCAPES}")
            yield pb.GenerateResponse(started=pb.Started(prompt_tokens=3))
            yield pb.GenerateResponse(progress=pb.Progress(prefilled_tokens=1, total_tokens=3))
            ids = [document.id for document in request.contexts.documents.documents]
            for character in ANSWER + ESCAPES:  # the sequences are cut, as tokens may cut them
                chunk = pb.Chunk(text=character, token_ids=[1])
                if ids:
                    chunk.citation.id = ids[0]
                yield pb.GenerateResponse(chunk=chunk)
            finished = pb.Finished(reason=pb.FINISH_REASON_LENGTH, usage=pb.Usage(completion_tokens=1))
            finished.documents.extend(pb.DocumentUse(tokens=1) for _ in ids)
            yield pb.GenerateResponse(finished=finished)

    class Admin(arpc.AdminServiceServicer):
        def ListRequests(self, request, context):
            listed = apb.RequestInfo(id=f"id\nforged {ESCAPES}", client=ESCAPES, state=apb.REQUEST_STATE_DECODE)
            listed.position.none.SetInParent()
            return apb.ListRequestsResponse(requests=[listed])

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
    rpc.add_InferenceServiceServicer_to_server(Inference(), server)
    arpc.add_AdminServiceServicer_to_server(Admin(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0)


def words(target, *arguments):
    program, *rest = arguments
    command = [BUILD / "client" / "longhaul-bench"] if program == "bench" else [LONGHAUL, program]
    return [*command, "--target", target, *rest]


def on_terminal(target, *arguments, stdout=None, **environment):
    variables = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    with Terminal(words(target, *arguments), env={**variables, "TERM": "xterm", **environment}, stdout=stdout) as terminal:
        terminal.exit_code()
        return terminal.output


def in_pipe(target, *arguments):
    done = subprocess.run(words(target, *arguments), capture_output=True, timeout=60)
    return done.stdout.decode(), done.stderr.decode()


@pytest.fixture
def document(tmp_path, monkeypatch):
    """A file whose name is no name."""
    monkeypatch.chdir(tmp_path)
    name = "notes\x1b[31m.txt"
    (tmp_path / name).write_text("text")
    return name


def controls(text):
    return {c for c in text if ord(c) < 32 or 127 <= ord(c) < 160} - {"\n", "\t"}


@pytest.mark.parametrize("arguments,shown", [
    (("info",), f"model\\nforged {SHOWN} ({SHOWN}, "),
    (("ps",), f"id\\nforged {SHOWN}  {SHOWN}  decode"),
    (("generate", "x", "--priority", "7"), f"longhaul: bad {SHOWN}\n"),
    (("generate", "x", "--quiet"), f"one\n\ttwo \\x00 Grüße {SHOWN}\n"),
    (("chat", "x", "--quiet", "--samples", "2"), f"[1 of 2]\none\n\ttwo \\x00 Grüße {SHOWN}\n"),
    (("tokenize", "x"), '1\t"\\u001b]0;owned\\u0007\\u001b[31m\\r\\x7f\\u009b2J"\n'),
    (("bench", "--concurrency", "1", "--requests", "1", "--warmup", "0s", "--quiet"), f"model\\nforged {SHOWN} ("),
])
def test_nothing_drives_a_terminal(target, arguments, shown):
    output = on_terminal(target, *arguments, TERM="dumb")
    assert shown in output and not controls(output), output


def test_a_pipe_gets_what_the_server_said(target):
    assert in_pipe(target, "generate", "x", "--quiet") == (ANSWER + ESCAPES + "\n", "")
    assert in_pipe(target, "info")[0].startswith(f"model           model\nforged {ESCAPES} ({ESCAPES}, ")
    assert in_pipe(target, "generate", "x", "--priority", "7") == ("", f"longhaul: bad {ESCAPES}\n")


def test_json_has_its_own_escapes(target):
    output = on_terminal(target, "ps", "--json")
    assert r'"id\nforged \u001b]0;owned\u0007\u001b[31m\r\u007f\u009b2J"' in output and not controls(output)


def test_names_of_documents(target, document):
    output = on_terminal(target, "ask", "--documents", document, "--priority", "0", "Why?", TERM="dumb")
    assert r"[notes\x1b[31m.txt] one" in output and not controls(output), output
    assert r"entropy 0.000  notes\x1b[31m.txt" in output
    stdout, stderr = in_pipe(target, "ask", "--documents", document, "Why?")
    assert stdout == f"[{document}] {ANSWER}{ESCAPES}\n" and document in stderr


@pytest.mark.parametrize("environment,coloured,rewritten", [
    ({}, True, True), ({"NO_COLOR": ""}, True, True), ({"NO_COLOR": "1"}, False, True),
    ({"TERM": "dumb"}, False, False), ({"TERM": ""}, False, False),
])
def test_colours_are_for_who_wants_them(target, document, environment, coloured, rewritten):
    output = on_terminal(target, "ask", "--documents", document, "Why?", **environment)
    assert ("\x1b[31mone" in output) == coloured == ("\x1b[0m" in output)
    assert ("reading: 1 of 3 tokens\r\x1b[K" in output) == rewritten == ("\r" in output)


@pytest.mark.parametrize("environment,coloured", [
    ({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb", "COLORTERM": "truecolor"}, False),
])
def test_the_log_of_the_server_has_colours_for_who_wants_them(environment, coloured):
    # Its first line is a warning about this variable; without a model it ends at once.
    unset = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLORTERM")}
    with Terminal([BUILD / "server" / "longhaul-server", "--model", "/none", "--listen", "127.0.0.1:0"],
                  env={**unset, "TERM": "xterm", "LONGHAUL_MAX_QUEU": "1", **environment}) as terminal:
        assert terminal.exit_code() == 1
        assert "LONGHAUL_MAX_QUEU" in terminal.output and ("\x1b[" in terminal.output) == coloured, terminal.output


def test_nothing_is_rewritten_on_a_dumb_terminal(target):
    load = ("bench", "--concurrency", "1", "--requests", "1", "--warmup", "0s")
    with open(os.devnull, "w") as nowhere:
        assert "\x1b[K" in on_terminal(target, *load, stdout=nowhere)
        assert on_terminal(target, *load, stdout=nowhere, TERM="dumb") == ""


@pytest.mark.parametrize("arguments", [
    ("generate", "x", "--priority", "7"), ("chat", "x", "--priority", "7"),
    ("generate", "x", "--priority", "7", "--samples", "3"), ("ask", "x", "--priority", "7", "--documents", __file__),
])
def test_a_request_that_fails_leaves_standard_output_empty(target, arguments):
    stdout, stderr = in_pipe(target, *arguments)
    assert stdout == "" and "bad" in stderr


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_a_closed_pipe_is_no_error(target, flags):
    process = subprocess.Popen(words(target, "generate", "x", "--quiet", *flags), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.wait()
