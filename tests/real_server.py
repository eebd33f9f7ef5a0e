"""The real server with the real model on a port of its own, and stubs made from the .proto file."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import grpc
import loopback
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("LONGHAUL_BUILD", ROOT / "build" / "release"))
CACHE = pathlib.Path(
    os.environ.get("LONGHAUL_CACHE")
    or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "longhaul"
)
MODEL = CACHE / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"


def longest_text(stub, pb, unit=" "):
    """As many units as a prompt may have that is not refused for its length alone: the refusal of a longer one tells. A
    megabyte of spaces takes a tenth of a second to be tokenized."""
    with pytest.raises(grpc.RpcError) as error:
        list(stub.Generate(pb.GenerateRequest(prompt=pb.Prompt(text=" " * 60_000_000))))
    longest_token = int(re.search(r"in tokens of at most (\d+) bytes", error.value.details()).group(1))
    size = min(longest_token * (stub.GetModel(pb.GetModelRequest()).cache_tokens + 1) - 1, 60_000_000)
    return (unit * (size // len(unit) + 1))[:size]


@pytest.fixture(scope="session")
def stubs(tmp_path_factory):
    """The modules (inference_pb2, inference_pb2_grpc), generated anew."""
    out = tmp_path_factory.mktemp("stubs")
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'proto'}", f"--python_out={out}",
         f"--grpc_python_out={out}", "longhaul/v1/inference.proto", "longhaul/v1/admin.proto"],
        check=True,
    )
    sys.path.insert(0, str(out))
    from longhaul.v1 import inference_pb2, inference_pb2_grpc

    return inference_pb2, inference_pb2_grpc


class Server:
    """A running longhaul-server; `environment` is added to this process's, `under` is a program that runs it."""

    def __init__(self, folder: pathlib.Path, *flags: str, model: pathlib.Path = MODEL, listen="127.0.0.1:0",
                 environment=None, under=()):
        self.log = folder / "log"
        port_file = folder / "port"
        self.process = subprocess.Popen(
            [*under, BUILD / "server" / "longhaul-server", "--model", model, "--listen", listen, "--port-file",
             port_file, *flags],
            stderr=self.log.open("w"), env=os.environ | (environment or {}),
        )
        deadline = time.monotonic() + 60
        while not port_file.exists():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, "the server did not open its port"
            time.sleep(0.02)
        self.target = f"127.0.0.1:{port_file.read_text().strip()}"

    def wait_until_serving(self, stub, pb):
        for _ in range(3000):
            try:
                return stub.GetModel(pb.GetModelRequest())
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.UNAVAILABLE, error
                time.sleep(0.02)
        raise AssertionError("the server does not serve: " + self.log.read_text())

    def stop(self, timeout=60):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = Server(tmp_path_factory.mktemp("server"), "--kv-cache-memory", "64MiB")
    yield running
    assert running.stop() == 0, running.log.read_text()


@pytest.fixture(scope="module")
def stub(server, stubs):
    pb, rpc = stubs
    with loopback.channel(server.target) as channel:
        made = rpc.InferenceServiceStub(channel)
        server.wait_until_serving(made, pb)
        yield made


@pytest.fixture
def longhaul(server, stub):
    """Runs a subcommand of the command line against the server of the module."""

    def run(*arguments, stdin=""):
        return subprocess.run([BUILD / "client" / "longhaul", arguments[0], "--target", server.target, *arguments[1:]],
                              input=stdin, capture_output=True, text=True, timeout=60)

    return run


@pytest.fixture(scope="session")
def admin_stubs(stubs):
    """The modules (admin_pb2, admin_pb2_grpc)."""
    from longhaul.v1 import admin_pb2, admin_pb2_grpc

    return admin_pb2, admin_pb2_grpc


@pytest.fixture
def start_server(tmp_path):
    """Starts servers of a test's own; they are ended with it."""
    started = []

    def start(*flags, **options):
        folder = tmp_path / str(len(started))
        folder.mkdir()
        started.append(Server(folder, *flags, **options))
        return started[-1]

    yield start
    for running in started:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()
