"""A minute of the soak: clients that are killed, cancelled and stalled at random, with far too small a cache."""

import subprocess
import sys

import pytest

from conftest import BUILD, MODEL, ROOT


@pytest.mark.timeout(600)
def test_a_minute_of_faults_leaves_nothing_behind_and_changes_no_answer(capsys):
    done = subprocess.run([sys.executable, ROOT / "tests" / "soak" / "soak.py", "--seconds", "60", "--build", BUILD,
                           "--model", MODEL], capture_output=True, text=True)
    with capsys.disabled():
        print("\n" + done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
