"""The model file: read whole before the server serves and never again, named where it is none; and signals meanwhile."""

import os
import shutil
import signal
import struct
import subprocess

import loopback
import pytest

from real_server import BUILD, MODEL


@pytest.fixture
def model(tmp_path):
    """A copy that a test may damage."""
    return shutil.copy(MODEL, tmp_path / "model.gguf")


def connect(server, stubs):
    pb, rpc = stubs
    stub = rpc.InferenceServiceStub(loopback.channel(server.target))
    return stub, server.wait_until_serving(stub, pb)


def answer(stub, pb):
    request = pb.GenerateRequest(
        prompt=pb.Prompt(text="The river runs past the old"), stopping=pb.Stopping(max_tokens=8, ignore_eos=True))
    return "".join(response.chunk.text for response in stub.Generate(request) if response.HasField("chunk"))


def refusal(model):
    """What the server says of a file that it cannot serve."""
    done = subprocess.run([BUILD / "server" / "longhaul-server", "--model", model, "--listen", "127.0.0.1:0"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    message = done.stderr.splitlines()[-1]
    assert message.startswith(f"longhaul-server: {model}: ")
    return message


def test_what_happens_to_the_file_later_changes_nothing(start_server, stubs, model):
    server = start_server("--kv-cache-memory", "64MiB", "--prefix-cache", "off", model=model)
    stub, _ = connect(server, stubs)
    before = answer(stub, stubs[0])
    with open(model, "r+b") as file:
        file.write(os.urandom(1 << 20))
        file.truncate(1 << 20)
    assert answer(stub, stubs[0]) == before
    assert server.stop() == 0


def test_the_fingerprint_covers_every_byte(server, stub, start_server, stubs, model):
    def fingerprint():
        started = start_server("--kv-cache-memory", "64MiB", model=model)
        _, info = connect(started, stubs)
        assert started.stop() == 0
        return info.engine_fingerprint

    usual = stub.GetModel(stubs[0].GetModelRequest()).engine_fingerprint
    assert usual.startswith("xxh3:")
    assert fingerprint() == usual, "the same file elsewhere"
    with open(model, "r+b") as file:
        file.seek(60_000_000)  # in the middle of the weights
        byte = file.read(1)[0]
        file.seek(60_000_000)
        file.write(bytes([byte ^ 1]))
    damaged = fingerprint()
    assert damaged != usual
    assert damaged.split("/")[1:] == usual.split("/")[1:]


def test_wrong_files_are_named_for_what_they_are(tmp_path):
    def gguf(**numbers):
        entries = b"".join(struct.pack("<Q", len(key)) + key.encode() + struct.pack("<IH", 2, value)
                           for key, value in numbers.items())
        return b"GGUF" + struct.pack("<IQQ", 3, 0, len(numbers)) + entries

    header = b'{"__metadata__":{"format":"pt"}}'
    path = tmp_path / "model.gguf"
    for content, words in [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1234\nsize 98362432\n", ["Git LFS pointer", "git lfs pull"]),
        (b"<!DOCTYPE html><html><body>Log in</body></html>", ["HTML page", "download"]),
        (struct.pack("<Q", len(header)) + header, ["safetensors", "convert the model to GGUF"]),
        (b"PK\3\4" + bytes(26) + b"archive/data.pkl", ["PyTorch checkpoint", "convert the model to GGUF"]),
        (gguf(**{"split.no": 1, "split.count": 3}), ["part 2 of 3", "not supported yet", "merge"]),
        (b"", ["is empty"]),
    ]:
        path.write_bytes(content)
        assert all(word in refusal(path) for word in words), words
    assert "is a folder" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "is a pipe" in refusal(tmp_path / "pipe")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_a_long_load(start_server, model, number):
    os.truncate(model, 1 << 36)  # 64 GiB of zeros that take no space, but long to read
    server = start_server("--kv-cache-memory", "64MiB", model=model)
    server.process.send_signal(number)
    assert server.process.wait(30) == 0
    log = server.log.read_text()
    assert "loading" in log and log.rstrip().endswith("stopped while loading")
    assert "serving" not in log
