"""Floods of streams, headers and small frames: each costs little, ends with its connection, and disturbs nobody."""

import pytest
import uploads
from attacks import ATTACKS
from vitals import ATTACKER


def test_streams_that_find_no_room(victim):
    attacked = victim()
    with attacked.watched(), uploads.begun(attacked.target, ATTACKER, "Generate", b"", connections=2, streams=1024):
        report = attacked.attack("refused_streams", "--connections", 300, "--seconds", 5)
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
        attacked.attack(name, "--again", "--seconds", 5)


@pytest.mark.parametrize("name", ["all", *ATTACKS])
def test_a_flood_on_50_connections_at_once(victim, name, request):
    if name != "all" and not request.config.getoption("--long"):
        pytest.skip("with --long")
    attacked = victim()
    with attacked.watched():
        attacked.attack(name, "--connections", 50, "--seconds", 5)
