"""`roomtone health`, as a container's health check asks it: by the watchdog's own rule."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge import pulse
from edge.errors import UnavailableError
from tests.daemon.test_control import DEAF, sensor
from tests.support.patience import wait_until
from tests.support.sounds import ROOT


def asked(runtime: Path | None) -> subprocess.CompletedProcess:
    environment = {} if runtime is None else {"RUNTIME_DIRECTORY": str(runtime)}
    return subprocess.run(
        [sys.executable, "-m", "edge", "health"], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_it_is_well_while_its_loop_turns_though_it_has_no_microphone(tmp_path, broker, monkeypatch):
    monkeypatch.setattr(pulse, "LIVES_S", 2 * pulse.PERIOD_S)
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    with sensor(tmp_path, broker.port, edge=DEAF) as (process, _):
        wait_until(lambda: "No Such Device" in (said := asked(tmp_path / "run").stdout) and said.startswith("alive: "))
        assert asked(tmp_path / "run").returncode == 0
        assert "No Such Device" in pulse.require_life()
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: stopped() is not None)
        assert "no sign of life for 1" in stopped()
        process.send_signal(signal.SIGCONT)
        wait_until(lambda: stopped() is None)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {pulse.FILE}


def stopped() -> str | None:
    """Return what is said of a sensor that gave no sign of life, None of one that did."""
    try:
        pulse.require_life()
    except UnavailableError as error:
        return str(error)
    return None


def test_what_it_cannot_know_it_says(tmp_path):
    for runtime, says in ((None, "RUNTIME_DIRECTORY is not set"), (tmp_path, "is `roomtone run` started?")):
        found = asked(runtime)
        assert (found.returncode, found.stdout) == (69, "")
        assert says in found.stderr
        assert found.stderr.count("\n") == 1


@pytest.mark.parametrize("damaged", [b"", b"{", b'{"monotonic_s": "x"}'])
def test_a_damaged_sign_is_none(tmp_path, damaged):
    (tmp_path / pulse.FILE).write_bytes(damaged)
    found = asked(tmp_path)
    assert found.returncode == 69
    assert "no sign of life" in found.stderr


def test_without_the_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.chdir(tmp_path)
    pulse.beat("hears")
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "nowhere"))
    pulse.beat("hears")  # in a folder that is not there: sensing goes on
    assert not list(tmp_path.iterdir())
