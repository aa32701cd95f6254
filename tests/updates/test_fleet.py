"""Fifty sensors on one broker get a new model, and then one that fails; `make test-updates` runs it, in ten minutes.

Forty-seven are the daemon's own loop, link and store, in threads of this process; three are `roomtone run` as it is
installed. What verifies a model is a process of its own each time: here so many at once as there are cores.
"""

import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest
import yaml

from edge.model.artifact import DEFAULT_MODEL, read_artifact
from edge.model.store import store_of
from edge.model.trial import choose
from edge.updates import offers
from tests.support.daemon import Daemon
from tests.support.owner import Silent
from tests.support.patience import wait_until
from tests.updates.test_publisher import desk, published

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3_600)]

SENSORS, WHOLE, CANARIES, KILLS = 50, 3, 3, 30
LONG_S = 900.0  # fifty verifications and trials, on a busy machine
HISS = """
import random, sys, time
while True:
    sys.stdout.buffer.write(random.randbytes(2560))
    sys.stdout.flush()
    time.sleep(0.08)
"""


def whole(house, device: str, folder: Path, **store) -> Daemon:
    """Return `roomtone run` with a program for a microphone, which says nothing of worth."""
    folder.mkdir()
    (folder / "hiss.py").write_text(HISS)
    house.sensor(device, **store)
    told = yaml.safe_load((house.folder / f"{device}.yaml").read_text())["edge"]
    told.pop("mqtt")
    told["audio"] = {"command": [sys.executable, str(folder / "hiss.py")]}
    return Daemon(folder, house.broker.port, recording=None, edge=told)


@pytest.fixture
def two_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, judge = threading.Semaphore(os.cpu_count() or 1), offers.judge

    def waiting(asked, data):
        with gate:
            return judge(asked, data)

    monkeypatch.setattr(offers, "judge", waiting)


@pytest.fixture
def fleet(house, two_at_once) -> Iterator[list[str]]:
    """Fifty sensors, three of them canaries, of which one drops sound while a model called `bad` runs."""
    with ExitStack() as running:
        for number in range(SENSORS):
            device, ring = f"room-{number:02}", "canary" if number < CANARIES else "house"
            if SENSORS - number <= WHOLE:
                running.enter_context(whole(house, device, house.folder / f"whole-{number}", ring=ring))
            else:
                fails = (lambda name: name.startswith("bad-")) if number == 1 else (lambda name: False)
                running.enter_context(Silent(house.sensor(device, ring=ring), drops=fails))
        devices = [f"room-{number:02}" for number in range(SENSORS)]
        wait_until(lambda: all(map(house.said, devices)), lambda: "not all said a word", patience_s=LONG_S)
        yield devices


def runs(house, device: str) -> str:
    """Return the name of the model that a sensor says it runs."""
    return house.said(device)["installed"]["model"].partition("-")[0]


def count(house, devices: list[str], name: str, result: str) -> int:
    told = [(runs(house, device), house.said(device)["result"]) for device in devices]
    return told.count((name, result))


def test_all_change_and_nobody_where_a_canary_went_back(house, fleet):
    desk(house, house.broker.port)
    canaries, others = fleet[:CANARIES], fleet[CANARIES:]
    good = house.model("good")
    began_s = time.monotonic()
    assert house.roomtone("publish", good, "--ring", "canary", called="desk").returncode == 0
    done = house.roomtone("promote", "--after", "10s", called="desk")
    assert done.returncode == 0, done.stderr
    promoted_s = time.monotonic() - began_s
    assert count(house, canaries, "good", "installed") == CANARIES
    wait_until(lambda: count(house, fleet, "good", "installed") == SENSORS,
               lambda: count(house, fleet, "good", "installed"), patience_s=LONG_S)  # fmt: skip
    whole_s = time.monotonic() - began_s
    print(f"\ncanaries and promotion {promoted_s:.0f} s, all {SENSORS} after {whole_s:.0f} s")

    bad = house.model("bad", created="2026-11-02T00:00:00Z")
    before = [house.said(device) for device in others]
    assert house.roomtone("publish", bad, "--ring", "canary", called="desk").returncode == 0
    done = house.roomtone("promote", "--after", "10s", called="desk")
    assert done.returncode == 65
    assert "room-01 went back from it: cannot keep real time" in done.stderr
    assert published(house.broker.port) == good.read_bytes()
    assert runs(house, "room-01") == "good"
    assert [house.said(device) for device in others] == before
    print(done.stderr.strip())


def killed(daemon: Daemon) -> None:
    """Kill a sensor and all that it started, as a power cut would, or systemd, which ends all of a service."""
    family = [psutil.Process(daemon.process.pid)]
    family += family[0].children(recursive=True)
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    daemon.process.wait()
    psutil.wait_procs(family[1:])


def test_kill_9_at_random_moments_of_an_update(house):
    """A whole sensor, killed at any moment from the publication on: what runs next is the old model or the new one.

    Or the one that was published before, which the broker gives a sensor again that was killed before it acknowledged.
    """
    chance, seen = random.Random(25), []
    config = house.sensor()
    before = last = read_artifact(DEFAULT_MODEL).digest
    for number in range(KILLS):
        file = house.model(f"model{number}", created=f"2026-11-02T00:{number:02}:00Z")
        with whole(house, "attic", house.folder / f"run-{number}") as daemon:
            daemon.wait_until_ready()
            house.publish(file)
            time.sleep(chance.uniform(0.0, 4.0))
            killed(daemon)
        chosen = choose(config, DEFAULT_MODEL)  # verified on the way: signature, hash, golden replay
        running = chosen.artifact.digest
        new = read_artifact(file).digest
        assert running in (before, last, new)
        seen.append("old" if running == before else "new")
        record = store_of(config).read()
        if record.current is not None:
            store_of(config).confirm(record.current)
        before, last = running, new
    print(f"\nafter {KILLS} kills: {seen.count('old')} times the old model, {seen.count('new')} times the new one")
    assert {"old", "new"} == set(seen)
