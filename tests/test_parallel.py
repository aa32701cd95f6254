"""`make test`'s processes: one that dies is one failed test, and numba's caches are nobody else's."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from tests.support.sounds import ROOT

CONFTEST = """
from tests.support.parallel import Sharing


def pytest_xdist_make_scheduler(config, log):
    return Sharing(config, log)
"""
# Dies at its first test, in its middle and at its last one; the other while it shares something.
ALONE = """
import pytest
from dying import die

@pytest.mark.parametrize("n", range(30))
def test_alone(n):
    if n in (0, 15, 29):
        die(f"alone-{n}")
"""
SHARING = """
import pytest
from dying import die

@pytest.fixture(scope="module")
def shared():
    return []

@pytest.mark.parametrize("n", range(5))
def test_sharing(n, shared):
    if n == 2:
        die("sharing")
"""
DYING = """
import os, pathlib, time

def die(name):
    seen = pathlib.Path(name)
    if {always} or not seen.exists():
        seen.touch()
        time.sleep(0.5)  # the controller learns from another thread that this test may be run again
        os.kill(os.getpid(), {signal:d})
"""


@pytest.mark.parametrize("fatal", [signal.SIGKILL, signal.SIGSEGV])
@pytest.mark.parametrize(
    ("reruns", "always", "outcome"),
    [
        (0, True, {"failed": 4, "passed": 31}),
        (1, True, {"failed": 4, "passed": 31, "rerun": 4}),
        (1, False, {"passed": 35, "rerun": 4}),
    ],
)
def test_a_test_that_its_process_dies_of_has_failed_and_holds_up_no_other(tmp_path, fatal, reruns, always, outcome):
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_alone.py").write_text(ALONE)
    (tmp_path / "test_sharing.py").write_text(SHARING)
    (tmp_path / "dying.py").write_text(DYING.format(always=always, signal=fatal))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    said = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "3", "--reruns", str(reruns), "-p", "no:cacheprovider", "."],
        cwd=tmp_path, env=environment | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=600,
    ).stdout  # fmt: skip
    last = said.splitlines()[-1]
    assert {what: int(number) for number, what in re.findall(r"(\d+) (failed|passed|rerun)", last)} == outcome, said


def test_numba_s_cache_is_this_process_s_own():
    process = os.environ.get("PYTEST_XDIST_WORKER", "alone")
    assert Path(numba.config.CACHE_DIR).parts[-2:] == ("numba", process)
