"""Messages that are never complete: they end after --receive-timeout, and hold little memory until then."""

import contextlib
import time

import pytest
import uploads
from frames import DATA, END_STREAM, HEADERS, RST_STREAM, field, frame, message, part
from vitals import ATTACKER, until

MIB = 1 << 20
TIMEOUT = 2  # seconds
BEGUN = b"\0" + (64 * MIB - 5).to_bytes(4, "big") + b"\x0a" + bytes(60 * MIB)
LARGE = b"\0" + (9 * MIB).to_bytes(4, "big") + bytes(9 * MIB - 1000)  # of what the server takes by default


@pytest.fixture
def impatient(victim):
    def start(*flags):
        return victim("--receive-timeout", f"{TIMEOUT}s", *flags)

    return start


@pytest.mark.parametrize("flags", [(), ("--max-message-size", "64MiB")], ids=["default", "64MiB"])
@pytest.mark.parametrize(("connections", "streams"), [(1, 14), (14, 1)])
def test_uploads_that_stop(impatient, connections, streams, flags):
    attacked = impatient(*flags)
    with attacked.watched():
        with uploads.begun(attacked.target, ATTACKER, "Generate", BEGUN, connections, streams) as begun:
            left = uploads.run(begun, TIMEOUT + 8)
            print(f"{sum(connection.sent for connection in begun) / 1e6:.0f} MB were taken")
    assert not left, f"{len(left)} uploads go on"


def test_little_uploads_that_stop(impatient):
    """Nothing, a part of the length, and a part of the message."""
    attacked = impatient()
    with attacked.watched(), contextlib.ExitStack() as opened:
        begun = [opened.enter_context(uploads.begun(attacked.target, ATTACKER, "Tokenize", data, streams=3))[0]
                 for data in (b"", b"\0\0", b"\0\0\0\0\x09\x0a\x03\x0a")]
        left = uploads.run(begun, TIMEOUT + 8)
    assert not left, f"{len(left)} uploads go on"


def test_an_upload_that_trickles(impatient):
    attacked = impatient()
    with attacked.watched():
        with uploads.begun(attacked.target, ATTACKER, "Generate", BEGUN[:10]) as begun:
            stream = begun[0].uploads[1]
            end = time.monotonic() + TIMEOUT + 8
            while stream.ended is None and time.monotonic() < end:
                uploads.run(begun, 0.2)
                stream.rest = memoryview(b"x")
    assert stream.ended


@pytest.mark.parametrize("served", [False, True], ids=["what is refused", "served calls"])
@pytest.mark.parametrize("further", [False, True], ids=["a message", "further messages"])
def test_little_pieces_keep_little_of_what_comes_around_them(victim, further, served, request):
    if (further or served) and not request.config.getoption("--long"):
        pytest.skip("with --long")
    attacked = victim()
    with attacked.watched(), contextlib.ExitStack() as opened:
        keeping = [uploads.KeepingConnection(attacked.target, ATTACKER, further, served) for _ in range(8)]
        for connection in keeping:
            opened.enter_context(contextlib.closing(connection.socket))
        end = time.monotonic() + 4
        while time.monotonic() < end:
            for connection in keeping:
                connection.step(0)
    taken = sum(connection.sent for connection in keeping)
    print(f"{taken / 1e6:.0f} MB were taken")
    assert taken > 20e6


HALF_FRAMES = {"a reset": frame(RST_STREAM, 0, 1, bytes(4))[:9],
               "trailers": frame(HEADERS, END_STREAM, 1, field(b"a", b"b"))}


@pytest.mark.parametrize("half", HALF_FRAMES)
def test_uploads_that_end_by_half_a_frame(victim, half, request):
    """What gRPC keeps until it has the other half."""
    if half != "a reset" and not request.config.getoption("--long"):
        pytest.skip("with --long")
    attacked = victim()
    halves = refused = 0
    with attacked.watched(), contextlib.ExitStack() as opened:
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            begun = opened.enter_context(uploads.begun(attacked.target, ATTACKER, "Generate", LARGE))
            stream = begun[0].uploads[1]
            while stream.rest and not stream.ended:
                begun[0].step(0.05)
            if stream.ended:
                refused += 1
            else:
                begun[0].socket.sendall(HALF_FRAMES[half])
                halves += 1
    print(f"{halves} ended so, {refused} found no room")
    assert halves and refused


def test_large_frames_that_are_refused_at_their_beginning(victim):
    """Streams end where frames do: until then gRPC would keep what it is sent."""
    attacked = victim()
    data = b"\0\x7f\xff\xff\xff" + bytes(1_500_000)  # a message of 2 GB
    with attacked.watched(), uploads.begun(attacked.target, ATTACKER, "Generate", b"", connections=300) as begun:

        def granted():
            for connection in begun:
                connection.step(0)
            return all(connection.window >= len(data) for connection in begun)

        until(granted, 10, "the server grants its windows")
        for connection in begun:
            with contextlib.suppress(ConnectionError):
                connection.socket.sendall(frame(DATA, 0, 1, data)[:-1])
        for connection in begun:
            with contextlib.suppress(ConnectionError):
                while connection.socket.recv(1 << 16):
                    pass


def test_two_large_uploads_of_a_client_are_served(victim):
    """Side by side on one connection, whose frames end where its windows do, with other calls between them."""
    attacked = victim()
    pb = attacked.stubs[0]
    text = "word " * (8 * MIB // 5)
    with attacked.stub() as stub:
        large = [stub.Tokenize.future(pb.TokenizeRequest(prompt=pb.Prompt(text=text))) for _ in range(2)]
        while not all(call.done() for call in large):
            stub.Tokenize(pb.TokenizeRequest(prompt=pb.Prompt(text="to be")))
        assert len({len(call.result().ids) for call in large}) == 1


def test_an_upload_that_pauses_is_served(impatient):
    attacked = impatient()
    whole = message(part(1, part(1, b"word " * 20_000)))
    with attacked.watched():
        with uploads.begun(attacked.target, ATTACKER, "Tokenize", whole[:20_000]) as begun:
            stream = begun[0].uploads[1]
            uploads.run(begun, TIMEOUT / 2)
            assert not stream.ended
            stream.rest = memoryview(whole[20_000:])
            assert not uploads.run(begun, 10) and len(stream.answer) > 20_000
