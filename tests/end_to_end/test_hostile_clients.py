"""What a hostile or broken client can send: the server answers it and lives on."""

import signal
import time

import grpc
import pytest

import loopback
from raw_http2 import RawClient
from real_server import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Takes larger messages than its cache has a use for, so that they get as far as to the checks behind."""
    running = Server(tmp_path_factory.mktemp("server"), "--kv-cache-memory", "64MiB", "--max-message-size", "64MiB")
    yield running
    assert running.stop() == 0, running.log.read_text()


@pytest.fixture
def raw(server, stub):
    client = RawClient(server.target)
    yield client
    client.close()


def one_token(pb):
    return pb.GenerateRequest(prompt=pb.Prompt(text="x"), stopping=pb.Stopping(max_tokens=1)).SerializeToString()


@pytest.mark.parametrize("header", [b"x-request-id", b"x-client-id"])
@pytest.mark.parametrize("value", [b"a\x01b", b"a\x7fb", b"caf\xc3\xa9", b"", b"x" * 129])
def test_a_name_that_no_header_may_hold_is_refused(server, raw, stub, stubs, header, value):
    pb, _ = stubs
    answer = raw.call("Generate", one_token(pb), [(header, value)])
    assert answer["grpc-status"] == b"3" and header in answer["grpc-message"]
    assert server.process.poll() is None
    stub.GetModel(pb.GetModelRequest())


def test_a_name_of_printable_characters_is_used(raw, stubs):
    pb, _ = stubs
    answer = raw.call("Generate", one_token(pb), [(b"x-request-id", b"Order 66 ~!")])
    assert answer["grpc-status"] == b"0" and answer["x-request-id"] == b"Order 66 ~!"


@pytest.mark.parametrize("timeout", [b"99999999H", b"2500000H", b"8761H", b"1H"])
def test_a_deadline_of_the_far_future_does_not_expire_at_once(raw, stubs, timeout):
    pb, _ = stubs
    answer = raw.call("Generate", one_token(pb), [(b"grpc-timeout", timeout)])
    assert answer["grpc-status"] == b"0"


def test_a_text_that_cannot_fit_is_refused_at_once(stub, stubs):
    pb, _ = stubs
    begin = time.monotonic()
    with pytest.raises(grpc.RpcError) as error:
        list(stub.Generate(pb.GenerateRequest(prompt=pb.Prompt(text=" " * 60_000_000))))
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "prompt.text: 60000000 bytes" in error.value.details()
    with pytest.raises(grpc.RpcError) as error:
        stub.Tokenize(pb.TokenizeRequest(prompt=pb.Prompt(text=" " * 9_000_000)))
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "prompt: 9000000 bytes" in error.value.details() and "8388608" in error.value.details()
    assert time.monotonic() - begin < 20


def test_tokenizing_stops_nobody_else(stub, stubs):
    """What is cancelled is not tokenized, what is asked of the loaded model is answered beside it."""
    pb, _ = stubs
    text = pb.TokenizeRequest(prompt=pb.Prompt(text=" " * 8_000_000))
    calls = [stub.Tokenize.future(text) for _ in range(20)]
    time.sleep(0.3)
    begin = time.monotonic()
    stub.GetModel(pb.GetModelRequest())
    assert time.monotonic() - begin < 10  # to their end they would take a minute
    for call in calls:
        call.cancel()
    assert list(stub.Tokenize(pb.TokenizeRequest(prompt=pb.Prompt(text="hello"))).ids) == [28120]
    assert time.monotonic() - begin < 20


def test_what_waits_is_bounded_in_bytes(start_server, stubs):
    pb, rpc = stubs
    running = start_server("--kv-cache-memory", "64MiB", "--max-message-size", "1MiB")
    with loopback.channel(running.target) as channel:
        made = rpc.InferenceServiceStub(channel)
        running.wait_until_serving(made, pb)
        text = pb.TokenizeRequest(prompt=pb.Prompt(text=" " * 1_000_000))
        calls = [made.Tokenize.future(text) for _ in range(30)]
        codes = [call.code() for call in calls]
        assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
        refused = calls[codes.index(grpc.StatusCode.RESOURCE_EXHAUSTED)].details()
        assert "--max-message-size" in refused and any(bound in refused for bound in ("4194304", "2097152"))
        # The shares come back.
        assert made.Tokenize(text).ids


def prompt_of(fields):
    """The bytes of a request whose prompt is these bytes."""
    def varint(n):
        return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + varint(n >> 7)
    return b"\x0a" + varint(len(fields)) + fields


def chat_of(n):
    messages = prompt_of(b"\x0a\x00" * n)
    return prompt_of(b"\x1a" + messages[1:])


@pytest.mark.parametrize("message,field", [
    (chat_of(30_000_000), "prompt.chat.messages"),
    (prompt_of(b"\x0a\x01x") + b"\x1a\x80\x84\xaf\x5f" + b"\x1a\x00" * 100_000_000, None),  # cut short: no message
    (prompt_of(b"\x0a\x01x") + b"\x1a" + prompt_of(b"\x1a\x00" * 30_000_000)[1:], "stopping.stop"),
    (prompt_of(b"\x0a\x01x") + b"\x12" + prompt_of(b"\x42\x00" * 30_000_000)[1:], "sampling.logit_bias"),
    (prompt_of(b"\x0a\x01x") + b"\xa2\x06\x00" * 20_000_000, "not known"),
    (prompt_of(b"\x0a\x01x") * 10_000_000, "prompt"),
], ids=["chat", "cut short", "stop", "logit_bias", "unknown", "prompt"])
def test_a_message_of_millions_of_parts_is_refused_before_it_is_parsed(server, stub, message, field):
    def peak():
        status = open(f"/proc/{server.process.pid}/status").read()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    message = message[:(64 << 20) - 1]
    open(f"/proc/{server.process.pid}/clear_refs", "w").write("5")
    before = peak()
    with loopback.channel(server.target, ("grpc.max_send_message_length", -1)) as channel:
        call = channel.unary_stream("/longhaul.v1.InferenceService/Generate")
        with pytest.raises(grpc.RpcError) as error:
            list(call(message))
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT, error.value.details()
    assert field is None or field in error.value.details()
    assert peak() - before < 300, "MiB more than before"


def test_a_client_that_falls_silent_is_gone(start_server, stubs):
    pb, rpc = stubs
    running = start_server("--kv-cache-memory", "64MiB", "--keepalive-time", "1s")
    with loopback.channel(running.target) as channel:
        made = rpc.InferenceServiceStub(channel)
        running.wait_until_serving(made, pb)
        client = RawClient(running.target)
        endless = pb.GenerateRequest(prompt=pb.Prompt(text="One,"),
                                     stopping=pb.Stopping(max_tokens=2500, ignore_eos=True))
        client.start("Generate", endless.SerializeToString())
        while made.GetModel(pb.GetModelRequest()).running == 0:
            time.sleep(0.01)
        begin = time.monotonic()  # it reads nothing any more, no ping either
        while made.GetModel(pb.GetModelRequest()).running > 0:
            time.sleep(0.05)
        assert time.monotonic() - begin < 5
        client.close()


def test_draining_waits_for_a_slow_reader_of_the_last_messages(start_server, stubs):
    pb, rpc = stubs
    running = start_server("--kv-cache-memory", "64MiB", "--drain-timeout", "60s")
    with loopback.channel(running.target) as channel:
        made = rpc.InferenceServiceStub(channel)
        running.wait_until_serving(made, pb)
        client = RawClient(running.target)  # takes 64 KiB before it must read
        score = pb.ScoreRequest(prompt=pb.Prompt(token_ids=pb.TokenIds(ids=[504] * 600)), top_logprobs=20)
        stream = client.start("Score", score.SerializeToString())
        while made.GetModel(pb.GetModelRequest()).cache_tokens_used == 0:
            time.sleep(0.005)
        while made.GetModel(pb.GetModelRequest()).cache_tokens_used > 0:
            time.sleep(0.01)
    running.process.send_signal(signal.SIGTERM)
    time.sleep(4)
    assert client.headers_of(stream)["grpc-status"] == b"0"
    assert running.process.wait(60) == 0
    client.close()
