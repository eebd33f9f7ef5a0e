"""A server whose memory ends while it answers: who asks for too much is told so, others are answered as ever."""

import contextlib
import resource
import subprocess

import grpc
import pytest
from real_server import BUILD, MODEL

MIB = 1 << 20
ROOM = 80  # MiB of address space that are left to a server that runs


@contextlib.contextmanager
def little_memory(attacked):
    pid = attacked.running.process.pid
    size = attacked.vitals.status("VmSize") * 1024
    resource.prlimit(pid, resource.RLIMIT_AS, (size + ROOM * MIB, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def test_what_takes_too_much_memory_is_refused_and_all_else_is_answered(victim):
    attacked = victim()
    pb, _ = attacked.stubs
    tokens = pb.TokenizeRequest(prompt=pb.Prompt(text="x1y2Z3" * (8 * MIB // 6)))
    spaces = pb.TokenizeRequest(prompt=pb.Prompt(text=" " * (8 * MIB)))
    pieces = pb.TokenizeRequest(prompt=pb.Prompt(token_ids=pb.TokenIds(ids=[504] * MIB)), pieces=True)
    text = pb.GenerateRequest(prompt=pb.Prompt(text="x" * (8 * MIB)))
    ids = pb.GenerateRequest(prompt=pb.Prompt(token_ids=pb.TokenIds(ids=[5] * (8 * MIB))))
    with attacked.stub() as stub:
        stub.GetModel(pb.GetModelRequest())  # connects
        with attacked.watched():
            with little_memory(attacked):
                for at_once in (1, 1, 4):
                    calls = [ask(request) for _ in range(at_once) for ask, request in (
                        (stub.Tokenize.future, tokens), (stub.Tokenize.future, spaces), (stub.Tokenize.future, pieces),
                        (stub.Generate, text), (stub.Generate, ids))]
                    codes = [call.code() for call in calls]
                    assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT,
                                          grpc.StatusCode.RESOURCE_EXHAUSTED}, codes
                    assert codes[0] == codes[4] == grpc.StatusCode.RESOURCE_EXHAUSTED, codes
        assert len(stub.Tokenize(pb.TokenizeRequest(prompt=pb.Prompt(text="x1y2Z3" * 1000))).ids) > 1000


def test_a_server_with_little_address_space_takes_smaller_messages(victim):
    attacked = victim("--max-message-size", "64MiB", under=("prlimit", f"--as={800 * MIB}"))
    assert "--max-message-size" in attacked.running.log.read_text()
    pb, _ = attacked.stubs
    with attacked.stub() as stub:
        stub.GetModel(pb.GetModelRequest())  # connects
        with attacked.watched():
            calls = [stub.Generate(pb.GenerateRequest(prompt=pb.Prompt(text=" " * size)))
                     for size in (60 * MIB, 30 * MIB, 5 * MIB) for _ in range(4)]
            assert {call.code() for call in calls} <= {grpc.StatusCode.INVALID_ARGUMENT,
                                                       grpc.StatusCode.RESOURCE_EXHAUSTED}


@pytest.mark.parametrize("mebibytes", [100, 200, 300, 420, 500, 600])
def test_a_server_that_cannot_start_says_what_it_could_not_have(mebibytes, tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (mebibytes * MIB, mebibytes * MIB))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    ended = subprocess.run([BUILD / "server" / "longhaul-server", "--model", MODEL, "--listen", "127.0.0.1:0",
                            "--kv-cache-memory", "256MiB"], preexec_fn=limit, capture_output=True, text=True, timeout=60)
    said = ended.stderr.splitlines()[-1]
    assert ended.returncode == 1 and said.startswith("longhaul-server: "), ended.stderr
    assert any(word in said for word in ("memory", "ulimit -v")), said
