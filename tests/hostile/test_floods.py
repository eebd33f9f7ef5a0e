"""Floods of streams, headers and small frames: each costs little, ends with its connection, and disturbs nobody."""

import contextlib
import socket

import grpc
import loopback
import pytest
import uploads
from attacks import ATTACKS
from frames import CONTINUATION, HEADERS, PREFACE, SERVICE, SETTINGS, frame
from vitals import ATTACKER, until


def test_a_call_that_finds_no_room_leaves_its_connection_whole(victim):
    """Also where it is the first one of an ordinary client."""
    attacked = victim("--max-streams", "4")
    pb = attacked.stubs[0]
    long = pb.GenerateRequest(prompt=pb.Prompt(text="to be"), stopping=pb.Stopping(max_tokens=2000, ignore_eos=True))
    short = pb.TokenizeRequest(prompt=pb.Prompt(text="to be"))
    with attacked.stub() as first, attacked.stub() as second:
        held = [first.Generate(long) for _ in range(2)]
        for call in held:
            next(call)
        with pytest.raises(grpc.RpcError) as refused:
            second.Tokenize(short, timeout=60)
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and "--max-streams" in refused.value.details()
        for call in held:
            call.cancel()

        def answered():
            try:
                return second.Tokenize(short, timeout=60).ids
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error
                return False

        until(answered, 30, "there is no room again")


def test_streams_that_find_no_room(victim):
    attacked = victim()
    with attacked.watched(), uploads.begun(attacked.target, ATTACKER, "Generate", b"", connections=2, streams=1024):
        report = attacked.attack("refused_streams", "--connections", 300, "--seconds", 4)
    assert report["closed"] == report["connections"], report


@pytest.mark.parametrize("name", ATTACKS)
def test_a_flood_ends_with_its_connection(victim, name, request):
    attacked = victim()
    with attacked.watched():
        report = attacked.attack(name, "--seconds", 60 if request.config.getoption("--long") else 5)
    assert report["closed"] == report["connections"], report


@pytest.mark.parametrize("name", ["all", *ATTACKS])
def test_a_flood_that_connects_again_and_again(victim, name, request):
    if name != "all" and not request.config.getoption("--long"):
        pytest.skip("with --long")
    attacked = victim()
    with attacked.watched():
        attacked.attack(name, "--again", "--seconds", 4)


@pytest.mark.parametrize("name", ["all", *ATTACKS])
def test_a_flood_on_50_connections_at_once(victim, name, request):
    if name != "all" and not request.config.getoption("--long"):
        pytest.skip("with --long")
    attacked = victim()
    with attacked.watched():
        attacked.attack(name, "--connections", 50, "--seconds", 4)


def test_headers_in_halves(victim):
    """Blocks of tiny fields that are never whole, on many connections: gRPC would make 80 bytes of three."""
    attacked = victim()
    half = frame(HEADERS, 0, 1, b"\x10\0\0" * 5000) + frame(CONTINUATION, 0, 1, b"\x10\0\0" * 5000)
    with attacked.watched(), contextlib.ExitStack() as opened:
        host, port = attacked.target.rsplit(":", 1)
        sockets = [opened.enter_context(contextlib.closing(socket.create_connection(
            (host, int(port)), timeout=10, source_address=(ATTACKER, 0)))) for _ in range(600)]
        for each in sockets:
            each.sendall(PREFACE + frame(SETTINGS, 0, 0) + half)
        pb = attacked.stubs[0]
        with attacked.stub() as stub:  # until all of it has been read
            for _ in range(200):
                stub.Tokenize(pb.TokenizeRequest(prompt=pb.Prompt(text="to be")))


def test_fields_that_nobody_knows(victim):
    """Texts where a number is due: two bytes of which the parser would make dozens."""
    attacked = victim()
    fields = b"\x12\0" * 4_000_000
    with attacked.watched(), loopback.channel(attacked.target, ("grpc.use_local_subchannel_pool", 1)) as channel:
        calls = [channel.unary_unary(SERVICE + "Tokenize").future(fields, timeout=60) for _ in range(2)]
        assert {call.code() for call in calls} == {grpc.StatusCode.INVALID_ARGUMENT}
