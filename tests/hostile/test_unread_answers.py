"""Answers that nobody takes: they are bounded, count in the budget of messages, and are given up."""

import contextlib
import threading
import time

import grpc
import loopback
import pytest
import uploads
from frames import DATA, SETTINGS, WINDOW_UPDATE, frame, message, part
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from vitals import ATTACKER, until

MIB = 1 << 20
STALL = 2  # seconds
FLAGS = ("--stream-stall-timeout", f"{STALL}s", "--keepalive-time", "6s", "--max-message-size", "16MiB")
LARGEST_WINDOW = (1 << 31) - 1
IM_START = 1  # a token whose name is twelve bytes

DETOKENIZE = part(1, part(1, bytes([IM_START]) * (8 * MIB // 12))) + b"\x10\x01"  # 0.7 MiB that ask for 8 MiB
PIECES = part(1, part(1, b"to be or not " * (3 * MIB // 13))) + b"\x18\x01"
SCORE = part(1, part(2, part(1, bytes([IM_START]) * 100))) + b"\x20\x14"


@contextlib.contextmanager
def asked(target, method, request, connections, streams, window):
    """Calls that are complete. Their answers may be so long before their clients must take some."""
    data = message(request)
    with uploads.begun(target, ATTACKER, method, data[:-1], connections, streams) as begun:
        while any(upload.rest for connection in begun for upload in connection.uploads.values()):
            for connection in begun:
                connection.step(0.01)
        for connection in begun:
            connection.socket.sendall(
                frame(SETTINGS, 0, 0, b"\0\4" + window.to_bytes(4, "big"))
                + frame(WINDOW_UPDATE, 0, 0, (LARGEST_WINDOW - 65535).to_bytes(4, "big"))
                + b"".join(frame(DATA, 0, stream, data[-1:]) for stream in connection.uploads))
        yield begun


@pytest.mark.parametrize(("method", "request_bytes", "connections", "streams"), [
    ("Detokenize", DETOKENIZE, 4, 8), ("Tokenize", PIECES, 2, 4), ("GetModel", b"\x10\x00", 2, 40),
    ("Score", SCORE, 2, 10)], ids=["Detokenize", "pieces", "GetModel", "Score"])
def test_answers_that_nobody_takes_are_given_up(victim, method, request_bytes, connections, streams):
    attacked = victim(*FLAGS)
    with attacked.watched():
        with asked(attacked.target, method, request_bytes, connections, streams, window=0) as begun:
            begin = time.monotonic()
            assert not uploads.run(begun, 60), "some calls go on"
            ended = [upload.ended for connection in begun for upload in connection.uploads.values()]
            assert max(ended) > begin + STALL - 0.5, "all were refused"
    assert_room_again(attacked)


def test_small_answers_that_nobody_takes_leave_room_to_others(victim):
    """So many that they fill all that their address may hold."""
    attacked = victim("--keepalive-time", "60s")
    small = part(1, part(1, bytes([IM_START]) * 4800)) + b"\x10\x01"  # asks for 58 KB
    with attacked.watched():
        with asked(attacked.target, "Detokenize", small, 2, 800, window=0) as begun:

            def some_are_refused():
                for connection in begun:
                    connection.step(0.05)
                return any(upload.ended for connection in begun for upload in connection.uploads.values())

            until(some_are_refused, 60, "their address has room for all of them")
            for _ in range(5):
                attacked.ask()
            assert all(connection.open() for connection in begun)


def test_streams_of_reflection_end(victim):
    """Each takes a thread, of which there are few."""
    attacked = victim("--stream-stall-timeout", f"{STALL}s")
    asks = reflection_pb2.ServerReflectionRequest(list_services="")

    def answered(call):
        try:
            return bool(next(call).list_services_response.service)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            return False

    def and_waits(over):
        yield asks
        over.wait()

    over = threading.Event()
    with attacked.watched(), loopback.channel(attacked.target) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        try:
            calls = [stub.ServerReflectionInfo(and_waits(over)) for _ in range(40)]
            assert 0 < sum(answered(call) for call in calls) < 20
            until(lambda: answered(stub.ServerReflectionInfo(iter([asks]))), STALL + 30, "no stream ended")
        finally:
            over.set()


def test_connections_from_which_nothing_is_read_are_closed(victim):
    attacked = victim(*FLAGS)
    with attacked.watched():
        before = attacked.vitals.descriptors()
        with asked(attacked.target, "Detokenize", DETOKENIZE, 4, 8, LARGEST_WINDOW):
            assert attacked.vitals.descriptors() > before
            until(lambda: attacked.vitals.descriptors() <= before, STALL + 10, "some connections stand")
            assert_room_again(attacked)


def test_a_drain_ends_who_reads_nothing(victim):
    attacked = victim("--stream-stall-timeout", "0s", "--drain-timeout", "3s", "--max-message-size", "16MiB")
    with asked(attacked.target, "Detokenize", DETOKENIZE, 2, 8, LARGEST_WINDOW):
        begin = time.monotonic()
        assert attacked.running.stop(60) == 0, attacked.running.log.read_text()
        assert time.monotonic() - begin < 20


def assert_room_again(attacked):
    """There is room for the largest answers, several at a time, and memory is given back."""
    pb, rpc = attacked.stubs
    request = pb.DetokenizeRequest(token_ids=pb.TokenIds(ids=[IM_START] * (8 * MIB // 12)), special=True)
    with loopback.channel(attacked.target, ("grpc.max_receive_message_length", -1)) as channel:
        calls = [rpc.InferenceServiceStub(channel).Detokenize.future(request) for _ in range(5)]
        assert [call.code() for call in calls] == [grpc.StatusCode.OK] * 5
    until(lambda: attacked.vitals.resident() - attacked.idle < 128, 10,
          lambda: f"{attacked.vitals.resident() - attacked.idle:.0f} MB more than before")
