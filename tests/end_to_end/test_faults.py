"""Some of the soak: clients that are killed, cancelled and stalled at random, with far too small a cache."""

import subprocess
import sys

import pytest

from real_server import BUILD, MODEL, ROOT


@pytest.mark.timeout(600)
def test_faults_leave_nothing_behind_and_change_no_answer(capsys):
    done = subprocess.run([sys.executable, ROOT / "tests" / "soak" / "soak.py", "--seconds", "30", "--build", BUILD,
                           "--model", MODEL], capture_output=True, text=True)
    with capsys.disabled():
        print("\n" + done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
