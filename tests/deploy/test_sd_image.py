"""The SD card's image, started in an emulated machine with its own kernel, and switched off at any moment.

As root (`make test-sd-image`); an hour and more, for the machine is emulated. ROOMTONE_POWER_CUTS says how many power
cuts there are (20), ROOMTONE_SD_IMAGE names an image that is there already. What only a Pi has (its boot loader, its
Wi-Fi, its sound cards) is not tried here.
"""

import base64
import itertools
import json
import os
import random
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

from tests.deploy.machine import CACHE, SUITE, require_root
from tests.deploy.pi import HOST, PI_PATIENCE_S, Card, Pi
from tests.deploy.test_arm64 import emulate
from tests.support.broker import Broker
from tests.support.patience import wait_until
from tests.support.sounds import ROOT
from tests.support.subscriber import Subscriber
from tests.support.system import require_program
from tests.support.virtual_microphone import VirtualMicrophone

pytestmark = [pytest.mark.machine, pytest.mark.timeout(4 * 3_600)]

DEMO = ROOT / "edge" / "commands" / "demo.flac"
WHOLE_EVERY = 5  # one power cut of so many comes after a whole start; the others while it starts, or soon after
COMMITTED_S = 2.0  # an event that nobody takes is to be written a second after it was sent, and writing takes a while
CUTS = int(os.environ.get("ROOMTONE_POWER_CUTS", "20"))
SETTINGS = """edge:
  device: {{id: kitchen, name: Kitchen}}
  mqtt: {{host: {host}, port: {port}}}
"""
HEARS_PLAYER = "  audio: {command: [python3, /etc/roomtone/player.py]}\n"
PLAYER = """import base64, itertools, sys, time
with open("/etc/roomtone/demo.b64") as file:
    sound = base64.b64decode(file.read())
began_s = time.monotonic()
for piece in itertools.count():
    at = piece * 3200 % (len(sound) // 3200 * 3200)
    sys.stdout.buffer.write(sound[at : at + 3200])
    sys.stdout.flush()
    time.sleep(max(0.0, began_s + 0.1 * (piece + 1) - time.monotonic()))
"""


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    require_root()
    if named := os.environ.get("ROOMTONE_SD_IMAGE"):
        yield Path(named)
        return
    emulate()
    folder = CACHE / f"sdcard-{os.getpid()}"
    subprocess.run([ROOT / "deploy" / "sdcard" / "build.sh", "--suite", SUITE, "--out", folder], check=True)
    yield next(folder.glob("*.img"))
    shutil.rmtree(folder)


@pytest.fixture
def card(image, tmp_path) -> Card:
    return Card(image, tmp_path)


@pytest.fixture
def broker(tmp_path) -> Iterator[Broker]:
    """A broker that has what it acknowledged, whatever happens."""
    with Broker(tmp_path / "broker") as running:
        yield running


@pytest.fixture
def microphone(tmp_path) -> Iterator[VirtualMicrophone]:
    with VirtualMicrophone(tmp_path / "pulse", rate_hz=48_000) as made:
        yield made


def until(watcher: Subscriber, condition, seen=None):
    return wait_until(lambda: condition(watcher), seen or watcher._seen, patience_s=PI_PATIENCE_S)


def microphones(watcher: Subscriber) -> list[str]:
    return [told.json["microphone"] for told in watcher.on("state") if not told.retained]


def test_it_starts_finds_the_microphone_and_says_its_name(card, broker, microphone, tmp_path):
    assert {"roomtone.yaml", "wifi.conf", "config.yaml", "config.txt", "cmdline.txt"} <= set(card.files())
    # As an editor on Windows leaves it.
    card.write("roomtone.yaml", f"edge:\r\n  mqtt: {{host: {HOST}, port: {broker.port}}}\r\n")
    with Subscriber(broker.port) as watcher, Pi(card, tmp_path, sound=microphone.env) as pi:
        print(f"READY=1 {pi.ready():.0f} s after it was switched on")
        until(watcher, lambda w: "ok" in microphones(w), pi.said)
        name = watcher.on("state")[-1].topic.split("/")[1]
        assert re.fullmatch("roomtone-[0-9a-f]{4}", name)
        wait_until(lambda: announced(pi.wire, name), pi.said, patience_s=PI_PATIENCE_S)
        # The system is written by nothing, the state's partition by roomtone.
        assert "read-only" not in pi.said().lower(), pi.said()
        assert "FAILED" not in pi.said(), pi.said()
    before = card.partition(2).read_bytes()
    with Subscriber(broker.port) as watcher, Pi(card, tmp_path) as pi:
        pi.ready()
        until(watcher, lambda w: microphones(w), pi.said)
        assert {told.topic.split("/")[1] for told in watcher.on("state")} == {name}
    assert card.partition(2).read_bytes() == before


def announced(wire: Path, name: str) -> bool:
    """Whether an mDNS answer for the name went to the network's group (RFC 6762), by what was recorded of it."""
    words = wire.read_bytes()
    group, port = bytes([224, 0, 0, 251]), (5_353).to_bytes(2, "big") * 2
    spelled = bytes([len(name)]) + name.encode() + b"\x05local\x00"
    # An answer is flagged so (0x8400), behind the ports, length, sum of UDP and the transaction, which is 0.
    return any(
        spelled in words[found.start() : found.start() + 600]
        for found in re.finditer(re.escape(group + port) + rb".{4}\x00\x00\x84\x00", words, re.DOTALL)
    )


def test_a_wrong_setting_is_said_on_the_screen_and_mended_by_the_card_alone(card, broker, tmp_path):
    card.write("roomtone.yaml", "edge: {mqtt: {hots: broker.lan}}\n")
    with Pi(card, tmp_path) as pi:
        wait_until(lambda: "did you mean host?" in pi.said(), pi.said, patience_s=PI_PATIENCE_S)
    card.write("roomtone.yaml", SETTINGS.format(host=HOST, port=broker.port))
    with Subscriber(broker.port) as watcher, Pi(card, tmp_path) as pi:
        pi.ready()
        until(watcher, lambda w: w.on("status"), pi.said)
        assert {told.topic for told in watcher.on("status")} == {"roomtone/kitchen/status"}


def test_power_cuts_at_any_moment_lose_nothing_that_was_promised(card, broker, tmp_path):
    # What it hears goes by its own clock, which is slow where this machine is busy: a real one would not wait.
    card.write("roomtone/player.py", PLAYER)
    card.write("roomtone/demo.b64", base64.b64encode(soundfile.read(DEMO, dtype="int16")[0].tobytes()).decode())
    card.write("roomtone.yaml", SETTINGS.format(host=HOST, port=broker.port) + HEARS_PLAYER)
    seed = random.randrange(10_000)
    rng, start_s, lessons, waiting, waited = random.Random(seed), 0.0, 0, set(), set()
    print(f"{CUTS} power cuts, drawn with {seed}")
    with Subscriber(broker.port) as watcher:
        for cut in range(1, CUTS + 1):
            with Pi(card, tmp_path) as pi:
                if cut % WHOLE_EVERY == 1:
                    start_s, lessons = as_promised(pi, broker, watcher, waiting, lessons)
                    after_s = rng.uniform(0.0, 0.4 * start_s)
                    promised = cut_while_the_broker_is_silent(pi, broker, after_s)
                    when = f"{after_s:.0f} s after a lesson (READY=1: {start_s:.0f} s), {len(promised)} not taken"
                else:
                    promised, after_s = waiting, rng.uniform(0.0, 1.2 * start_s)
                    time.sleep(after_s)
                    was_ready = pi.is_ready()
                    pi.cut()
                    when = f"{after_s:.0f} s after it was switched on, {'' if was_ready else 'not '}ready"
            waiting = card.waiting()
            assert promised <= waiting | came(watcher)
            waited |= waiting
            print(f"cut {cut}: {when}; {len(waiting)} wait")
        with Pi(card, tmp_path) as pi:
            start_s, lessons = as_promised(pi, broker, watcher, waiting, lessons)
    events = require_no_gap(watcher)
    assert waited or CUTS <= WHOLE_EVERY
    again = len(watcher.on("event")) - len(events)
    print(f"READY=1: {start_s:.0f} s; {len(waited)} events waited, and all came; {lessons} lessons, and all are there")
    print(f"{len(events)} events; {again} times one came again")


def cut_while_the_broker_is_silent(pi: Pi, broker: Broker, after_s: float) -> set[str]:
    """Cut the power while nobody acknowledges what it says. Returns the events that it had promised to keep."""
    broker.freeze()
    time.sleep(after_s)
    pi.cut()
    broker.kill()
    broker.start()
    return {event for event, age_s in pi.events_sent().items() if age_s > COMMITTED_S}


def require_no_gap(watcher: Subscriber) -> list[dict]:
    """Return all events that came, each once, in order; each goes on from the one before, or from a start."""
    events = list({event["event_id"]: event for told in watcher.on("event") for event in [told.json]}.values())
    assert [event["seq"] for event in events] == sorted(event["seq"] for event in events)
    gaps = [pair for pair in itertools.pairwise(events) if pair[1]["previous"] != pair[0]["event_type"]]
    # It begins with quiet; what the last second before a power cut brought, nobody knows.
    assert len(gaps) <= CUTS
    assert {after["previous"] for _, after in gaps} <= {"quiet"}, gaps
    return events


def as_promised(
    pi: Pi, broker: Broker, watcher: Subscriber, waiting: set[str], lessons: int
) -> tuple[float, int]:
    """Have it start, what waited come, the lessons be there; then teach it something that it hears now.

    Returns how many seconds it took to READY=1, and how many lessons it has now.
    """
    before = len(watcher.messages)

    def said(name: str) -> list[dict]:
        """What it has said since it was switched on."""
        new = watcher.messages[before:]
        return [told.json for told in new if told.topic == f"roomtone/kitchen/{name}" and not told.retained]

    def fresh() -> list[dict]:
        return [event for event in said("event") if not event["late"] and event["event_type"] != "quiet"]

    start_s = pi.ready()
    until(watcher, lambda w: waiting <= came(w), pi.said)
    assert until(watcher, lambda _: said("lessons"), pi.said)[-1]["count"] == lessons
    until(watcher, lambda _: fresh(), pi.said)
    word = json.dumps({"event_id": fresh()[-1]["event_id"], "label": "happy"})
    publish = [require_program("mosquitto_pub", "mosquitto-clients"), "-p", str(broker.port), "-q", "1"]
    subprocess.run([*publish, "-t", "roomtone/kitchen/teach", "-m", word], check=True)
    until(watcher, lambda _: said("lessons")[-1]["answer"], pi.said)
    last = said("lessons")[-1]
    assert (last["answer"]["done"], last["count"]) == (True, lessons + 1), last
    return start_s, lessons + 1


def came(watcher: Subscriber) -> set[str]:
    return {told.json["event_id"] for told in watcher.on("event")}
