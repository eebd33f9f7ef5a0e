"""Connections beyond what the server has descriptors for, or grants: it closes them and goes on accepting."""

import contextlib
import pathlib
import re
import resource
import socket

import pytest
from frames import ENHANCE_YOUR_CALM, GOAWAY, PREFACE, SETTINGS, frame
from vitals import OrdinaryClient, until

MANY = 1100


@pytest.fixture(autouse=True)
def room_for_many_connections():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Peer:
    """A client that says what every HTTP/2 client says first, and then nothing."""

    def __init__(self, target, source):
        host, port = target.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=10, source_address=(source, 0))
        with contextlib.suppress(OSError):  # closed already
            self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0))

    def end(self):
        """The error of the server's GOAWAY where it has closed the connection; none where it serves it."""
        received = b""
        while len(received) < 9:  # who is refused gets all that is said at once
            data = self.socket.recv(65536)
            assert data, "closed without a word"
            received += data
        while received:
            size = 9 + int.from_bytes(received[:3], "big")
            if received[3] == GOAWAY:
                return int.from_bytes(received[13:17], "big")
            received = received[size:]
        return None


@contextlib.contextmanager
def peers(target, sources):
    """Connects from each of these addresses."""
    with contextlib.ExitStack() as opened:
        made = []
        for source in sources:
            made.append(Peer(target, source))
            opened.enter_context(contextlib.closing(made[-1].socket))
        yield made


def finds_room(target, source):
    with peers(target, [source]) as made:
        return made[0].end() is None


def address(number, each=100):
    """127.0.1.x: another one for each hundred."""
    return f"127.0.1.{1 + number // each}"


def test_more_connections_than_descriptors(victim):
    attacked = victim(under=("prlimit", "--nofile=1024:1024"))
    with attacked.watched():
        with peers(attacked.target, [address(number) for number in range(MANY)]) as made:
            assert {made[0].end(), made[-1].end()} == {None, ENHANCE_YOUR_CALM}
        with OrdinaryClient(attacked.target, attacked.stubs):
            pass


def test_the_soft_limit_of_descriptors_is_raised(victim):
    attacked = victim(under=("prlimit", "--nofile=1024:4096"))
    limits = pathlib.Path(f"/proc/{attacked.running.process.pid}/limits").read_text()
    assert re.search(r"Max open files\s+4096\s+4096", limits), limits


def test_connections_are_bounded(victim):
    attacked = victim("--max-connections", "20")
    with attacked.watched():
        with peers(attacked.target, [address(number, each=5) for number in range(40)]) as made:
            ends = [peer.end() for peer in made]
            assert 10 <= ends.count(None) <= 20 and set(ends) == {None, ENHANCE_YOUR_CALM}
        until(lambda: finds_room(attacked.target, "127.0.0.2"), 10, "there is no room again")


def test_connections_of_an_address_are_bounded(victim):
    attacked = victim("--max-connections-per-address", "5")
    with attacked.watched():
        with peers(attacked.target, ["127.0.0.2"] * 20) as made:
            ends = [peer.end() for peer in made]
            assert ends.count(None) == 5 and set(ends) == {None, ENHANCE_YOUR_CALM}
            assert finds_room(attacked.target, "127.0.0.3")
            assert not finds_room(attacked.target, "127.0.0.2")
            made[ends.index(None)].socket.close()
            until(lambda: finds_room(attacked.target, "127.0.0.2"), 10, "there is no room again")
