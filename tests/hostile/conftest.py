"""Servers that are attacked. Longer forms by flag: --inputs N malformed inputs, --long floods."""

import pytest

from vitals import Victim


def pytest_addoption(parser):
    parser.addoption("--inputs", type=int, default=2000, help="how many malformed inputs are sent")
    parser.addoption("--long", action="store_true", help="every flood in every form, for longer")


@pytest.fixture
def victim(start_server, stubs):
    """Starts a server with these flags and makes it ready."""

    def start(*flags, **options):
        running = start_server("--kv-cache-memory", "64MiB", "--health-listen", "127.0.0.1:0", *flags, **options)
        return Victim(running, stubs)

    return start
