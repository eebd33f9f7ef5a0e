"""Seeing and ending the requests of others, by the wire and by the command line; reading a text into the cache."""

import json
import subprocess
import threading
import time

import grpc
import pytest

import loopback
from real_server import BUILD, longest_text


@pytest.fixture
def admin(server, stub, admin_stubs):
    with loopback.channel(server.target) as channel:
        yield admin_stubs[1].AdminServiceStub(channel)


def of_tokens(pb, token, tokens, max_tokens, **more):
    return pb.GenerateRequest(prompt=pb.Prompt(token_ids=pb.TokenIds(ids=[token] * tokens)),
                              stopping=pb.Stopping(max_tokens=max_tokens, ignore_eos=True), **more)


def endless(pb, max_tokens=2000, **more):
    return pb.GenerateRequest(prompt=pb.Prompt(text="One, two, three,"),
                              stopping=pb.Stopping(max_tokens=max_tokens, ignore_eos=True), **more)


@pytest.fixture
def start(stub, stubs):
    """Starts streams that are read until they end, and takes them back in the end."""
    started = []

    def begin(id, request, client="tests"):
        stream = stub.Generate(request, metadata=[("x-request-id", id), ("x-client-id", client)])
        assert next(stream).HasField("started")

        def read():
            try:
                list(stream)
            except grpc.RpcError:
                pass

        threading.Thread(target=read).start()
        started.append(stream)
        return stream

    yield begin
    for stream in started:
        stream.cancel()
        stream.code()  # waits for its end


def wait_for(look, found):
    for _ in range(6000):
        seen = look()
        if found(seen):
            return seen
        time.sleep(0.01)
    raise AssertionError(seen)


def test_lists_who_asks_what(admin, admin_stubs, start, stubs):
    pb, _ = stubs
    apb, _ = admin_stubs
    # The cache holds one of them and a half.
    start("first", of_tokens(pb, 500, 1500, 1000, priority=-7, position=pb.PositionMode(rerope=pb.Rerope(window=64))),
          "alice")
    start("second", of_tokens(pb, 501, 1450, 1), "bob")
    start("third", of_tokens(pb, 502, 1450, 1), "bob")
    requests = wait_for(lambda: admin.ListRequests(apb.ListRequestsRequest()).requests,
                        lambda seen: seen[0].tokens_generated > 0)
    first, second, third = requests
    assert [r.id for r in requests] == ["first", "second", "third"] and [r.client for r in requests] == [
        "alice", "bob", "bob"]
    assert first.state == apb.REQUEST_STATE_DECODE and first.priority == -7
    assert first.position.rerope.window == 64 and second.position.HasField("none")
    assert first.rows == 1 and first.prompt_tokens == first.tokens_read == 1500 and first.blocks > 93
    assert third.state == apb.REQUEST_STATE_WAITING and third.blocks == third.tokens_read == 0
    assert first.age >= third.age > 0


def test_ends_a_request_of_another(admin, admin_stubs, start, stubs):
    pb, _ = stubs
    apb, _ = admin_stubs
    stream = start("victim", endless(pb))
    assert admin.CancelRequest(apb.CancelRequestRequest(id="victim")).cancelled == 1
    assert stream.code() == grpc.StatusCode.CANCELLED and "cancelled" in stream.details()
    assert admin.CancelRequest(apb.CancelRequestRequest(id="victim")).cancelled == 0
    with pytest.raises(grpc.RpcError) as error:
        admin.CancelRequest(apb.CancelRequestRequest())
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT and error.value.details().startswith("id: ")


def test_ends_what_is_still_to_be_tokenized(start_server, admin_stubs, stubs):
    pb, rpc = stubs
    apb, admin_rpc = admin_stubs
    running = start_server("--kv-cache-memory", "2GiB", "--max-message-size", "64MiB")
    with loopback.channel(running.target, ("grpc.max_send_message_length", -1)) as channel:
        stub, admin = rpc.InferenceServiceStub(channel), admin_rpc.AdminServiceStub(channel)
        running.wait_until_serving(stub, pb)
        call = stub.Generate(pb.GenerateRequest(prompt=pb.Prompt(text=longest_text(stub, pb))),
                             metadata=[("x-request-id", "slow")])
        seen, = wait_for(lambda: admin.ListRequests(apb.ListRequestsRequest()).requests, len)
        assert seen.state == apb.REQUEST_STATE_WAITING and seen.rows == 0 and seen.client == "127.0.0.1"
        assert admin.CancelRequest(apb.CancelRequestRequest(id="slow")).cancelled == 1
        with pytest.raises(grpc.RpcError) as error:
            list(call)  # not code(), which waits forever for a status behind a message that nobody takes
        assert error.value.code() == grpc.StatusCode.CANCELLED


def test_a_message_that_is_none_is_refused(server, stub):
    with loopback.channel(server.target) as channel:
        call = channel.unary_unary("/longhaul.v1.AdminService/CancelRequest")
        with pytest.raises(grpc.RpcError) as error:
            call(b"\x0a\x02\xff\xfe")
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_ps_and_cancel(longhaul, start, stubs):
    pb, _ = stubs
    assert longhaul("ps").stdout.split() == [
        "ID", "CLIENT", "STATE", "ROWS", "READ", "GENERATED", "AGE", "BLOCKS", "PRIORITY", "POSITION"]
    stream = start("Order 66", endless(pb, priority=3), "alice")
    table = wait_for(lambda: longhaul("ps"), lambda result: "decode" in result.stdout)
    header, line = table.stdout.splitlines()
    assert table.returncode == 0 and line.startswith("Order 66  alice   decode")
    assert line[header.index("READ"):].startswith("6/6") and line[header.index("POSITION"):].startswith("none")
    request, = json.loads(longhaul("ps", "--json").stdout)["requests"]
    assert request["id"] == "Order 66" and request["state"] == "REQUEST_STATE_DECODE" and request["priority"] == 3
    result = longhaul("cancel", "Order 66")
    assert result.returncode == 0 and result.stdout == "1 cancelled\n"
    assert stream.code() == grpc.StatusCode.CANCELLED
    result = longhaul("cancel", "Order 66")
    assert result.returncode == 7 and result.stdout == "" and "Order 66" in result.stderr
    assert longhaul("cancel", "Order 66", "--json").returncode == 7
    assert longhaul("cancel").returncode == 2


def test_cancel_ends_a_running_command_line(longhaul, server):
    process = subprocess.Popen([BUILD / "client" / "longhaul", "generate", "One, two,", "--target", server.target,
                                "--ignore-eos", "--max-tokens", "2000", "--request-id", "mine"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.read(10)
    assert longhaul("cancel", "mine").returncode == 0
    process.communicate(timeout=60)
    assert process.returncode == 130


def test_warm_reads_a_text_and_says_what_it_took(longhaul, tmp_path):
    file = tmp_path / "handbook"
    file.write_text("The capital of France is Paris. " * 40)
    result = longhaul("warm", "--prompt-file", str(file))
    assert result.returncode == 0 and "tokens read" in result.stdout and "from the cache" in result.stdout
    messages = [json.loads(line) for line in longhaul("warm", "--json", stdin="The capital").stdout.splitlines()]
    assert messages[0]["started"]["prompt_tokens"] == messages[-1]["finished"]["usage"]["prompt_tokens"] == 2
    assert messages[-1]["finished"]["reason"] == "FINISH_REASON_LENGTH"
    assert longhaul("warm", "--prompt-file", "/no/such/file").returncode == 2


@pytest.mark.parametrize("command", ["generate", "chat", "score"])
def test_a_priority_is_sent_and_checked(longhaul, command):
    assert longhaul(command, "a b", "--priority", "100").returncode == 0
    result = longhaul(command, "a b", "--priority", "-101")
    assert result.returncode == 2 and "priority: -101 is not allowed" in result.stderr
