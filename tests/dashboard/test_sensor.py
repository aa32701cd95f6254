"""The dashboard and a real sensor at a real (virtual) microphone, joined by a real broker."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from edge.commands.demo import RECORDING
from edge.labels import QUIET
from edge.sound.recording import load_recording
from tests.support.broker import Broker
from tests.support.chromium import labels, word
from tests.support.patience import wait_until
from tests.support.sounds import ROOT, to_int16
from tests.support.subscriber import Subscriber
from tests.support.virtual_microphone import VirtualMicrophone

SOUND_S = 14


@pytest.fixture
def sensor(tmp_path: Path, room: Broker, virtual_microphone: VirtualMicrophone) -> Iterator[subprocess.Popen]:
    """`roomtone run` as a process of its own."""
    config = tmp_path / "config.yaml"
    mqtt = f"{{host: 127.0.0.1, port: {room.port}}}"
    config.write_text(f"edge: {{device: {{id: ward}}, state_folder: {tmp_path}, mqtt: {mqtt}}}")
    command = [sys.executable, "-m", "edge", "--config", str(config), "run"]
    environment = {**os.environ, **virtual_microphone.env, "PYTHONPATH": str(ROOT)}
    with (tmp_path / "sensor.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    yield process
    process.kill()
    process.wait()


def test_the_page_follows_a_sensor_from_its_first_word_to_its_death(
    room: Broker, visit, virtual_microphone: VirtualMicrophone, sensor: subprocess.Popen
):
    page = visit().page
    with Subscriber(room.port, "roomtone/ward/event") as watcher:
        expect(word(page)).to_have_text(QUIET)
        expect(page.locator("#ear-state")).to_have_text("working")
        virtual_microphone.play(to_int16(load_recording(RECORDING)[: SOUND_S * 16_000]))
        expect(word(page)).to_have_text(QUIET)
        told = [message.json["event_type"] for message in watcher.messages]
        assert len(told) >= 4
        # The digital silence that follows is a line of its own as soon as it is known to be no microphone's.
        wait_until(lambda: labels(page)[: len(told) + 1] == [QUIET, *told], lambda: labels(page))

        assert virtual_microphone.listeners() == 1
        page.get_by_role("switch", name="Listening").click()
        expect(word(page)).to_have_text("not listening")
        wait_until(lambda: virtual_microphone.listeners() == 0)
        page.get_by_role("switch", name="Listening").click()
        expect(word(page)).to_have_text(QUIET)
        wait_until(lambda: virtual_microphone.listeners() == 1)

        sensor.kill()
        expect(word(page)).to_have_text("offline")


def test_every_setting_is_set_read_back_and_given_back(
    room: Broker, visit, virtual_microphone: VirtualMicrophone, sensor: subprocess.Popen, tmp_path: Path
):
    """By the page alone: each holds on the sensor and its disk, is seen by whoever comes later, and is reset."""
    page = visit().page
    noise = np.random.default_rng(0).normal(0, 300, 16_000 * 3).astype(np.int16)
    with Subscriber(room.port, "roomtone/ward/#") as watcher, virtual_microphone.humming(noise):

        def holds() -> dict:
            return watcher.on("settings")[-1].json if watcher.on("settings") else {}

        expect(word(page)).to_have_text(QUIET)
        page.locator("#settings-open").click()
        drawer = page.get_by_role("dialog", name="Settings")
        drawer.get_by_text("Technical", exact=True).click()
        drawer.get_by_role("button", name="Calibrate").click()
        expect(page.get_by_role("progressbar", name="Calibration")).to_be_visible()
        drawer.get_by_role("slider", name="Sensitivity").fill("70")
        expect(page.locator("#sensitivity-holds p")).to_have_text("Now 70, set here. The configuration has 50.")
        drawer.get_by_label("Seconds between").fill("90")
        drawer.get_by_label("Seconds between").blur()
        expect(page.locator("#settings-note")).to_have_text("The interval is a number from 1 to 60.")
        assert holds()["state_interval_s"] == 30
        drawer.get_by_label("Seconds between").fill("12.5")
        drawer.get_by_label("Seconds between").blur()
        expect(page.locator("#interval-holds p")).to_have_text("Now 12.5 s, set here. The configuration has 30 s.")
        drawer.get_by_label("Log level", exact=True).select_option("warning")
        expect(page.locator("#level-holds p")).to_have_text("Now warning, set here. The configuration has info.")
        drawer.get_by_role("checkbox", name="Quiet hours").check()
        for name, value in (("from", "04:00"), ("to", "04:01"), ("Time zone", "utc")):
            drawer.get_by_label(name, exact=True).fill(value)
        drawer.get_by_role("button", name="Set the quiet hours", exact=True).click()
        refused = "Not done: quiet hours: unknown time zone 'utc' (expected e.g. Europe/Berlin)."
        expect(page.locator("#settings-note")).to_have_text(refused)
        assert holds()["quiet_hours"] is None
        expect(drawer.get_by_label("Time zone")).to_have_value("utc")  # to be mended
        hour = datetime.now(UTC).hour
        far = {"start": f"{(hour + 11) % 24:02}:00", "end": f"{(hour + 12) % 24:02}:00", "time_zone": "UTC"}
        for name, value in zip(("from", "to", "Time zone"), far.values(), strict=True):
            drawer.get_by_label(name, exact=True).fill(value)
        drawer.get_by_role("button", name="Set the quiet hours", exact=True).click()
        expect(page.locator("#quiet-holds p")).to_contain_text("set here. The configuration has none.")
        expect(page.locator("#calibrate-result")).to_contain_text("The room is known since")
        told = holds()
        assert told["set"] == ["sensitivity", "quiet_hours", "state_interval_s", "log_level"]
        assert (told["sensitivity"], told["state_interval_s"], told["log_level"]) == (70, 12.5, "warning")
        assert told["quiet_hours"] == far
        kept = json.loads((tmp_path / "settings-ward.json").read_text())
        assert {name: kept[name] for name in told["set"]} == {name: told[name] for name in told["set"]}
        assert kept["calibration"]["floor_dbfs"] == told["calibration"]["floor_dbfs"]

        page.reload()  # whoever comes later
        page.locator("#settings-open").click()
        drawer.get_by_text("Technical", exact=True).click()
        expect(drawer.get_by_role("slider", name="Sensitivity")).to_have_value("70")
        expect(drawer.get_by_role("checkbox", name="Quiet hours")).to_be_checked()
        expect(drawer.get_by_label("from")).to_have_value(far["start"])
        expect(drawer.get_by_label("Log level", exact=True)).to_have_value("warning")
        noise = f"{told['calibration']['floor_dbfs']:.1f} dBFS"
        expect(page.locator("#calibrate-result")).to_contain_text(noise)
        drawer.get_by_role("button", name="Reset the interval").click()
        expect(page.locator("#interval-holds p")).to_have_text("Now 30 s, as configured.")
        drawer.get_by_role("button", name="Reset everything").click()
        page.get_by_role("dialog", name="Reset everything?").get_by_role("button", name="Reset everything").click()
        expect(page.locator("#calibrate-result")).to_contain_text("Not calibrated")
        for name, value in (("sensitivity", "50"), ("quiet", "none"), ("interval", "30 s"), ("level", "info")):
            expect(page.locator(f"#{name}-holds p")).to_have_text(f"Now {value}, as configured.")
        assert holds()["set"] == []


def test_a_newcomer_corrects_a_sensor_from_the_page_alone(
    room: Broker, visit, virtual_microphone: VirtualMicrophone, sensor: subprocess.Popen, tmp_path: Path
):
    """Every change with a label is said to be another; the page's figures are the sensor's, and it forgets them all."""
    page = visit().page
    with Subscriber(room.port, "roomtone/ward/#") as watcher:
        expect(page.locator("#ear-state")).to_have_text("working")
        expect(page.locator("#lessons-text")).to_contain_text("None yet")
        virtual_microphone.play(to_int16(load_recording(RECORDING)[: SOUND_S * 16_000]))
        expect(word(page)).to_have_text(QUIET)
        said = [message.json for message in watcher.on("event") if message.json["event_type"] != QUIET]
        utterances = [event for event in said if event["previous"] == QUIET]
        assert len(utterances) >= 2
        moments = [round(datetime.fromisoformat(event["ts"]).timestamp() * 1_000) for event in utterances]
        for number, (moment, label) in enumerate(zip(moments, cycle(("sad", "happy"))), start=1):
            page.locator(f"#changes [data-start='{moment}']").click()
            page.get_by_role("dialog").get_by_role("button", name=label).click()
            expect(page.locator("#lessons-note")).to_have_text(f"Taught: {label}.")
            expect(page.locator("#changes .chip")).to_have_count(number)
        told = watcher.on("lessons")[-1].json
        assert told["count"] == len(moments)
        assert told["in_use"] == (told["chance_after"] >= told["chance_before"])
        use = "answers by the lessons" if told["in_use"] else "answers without the lessons"
        expect(page.locator("#lessons-use")).to_contain_text(use)
        before, after = (round(told[name] * told["count"]) for name in ("right_before", "right_after"))
        few = told["count"] < 5
        help = "Too few to tell yet" if few else f"of the {told['count']} lessons: {before} before, {after} after."
        expect(page.locator("#lessons-help")).to_contain_text(help)
        assert list(tmp_path.glob("lessons-ward/*.json"))
        page.reload()  # what was taught is known to whoever comes later
        expect(page.locator("#changes .chip")).to_have_count(len(moments))
        page.get_by_role("button", name="Forget all").click()
        page.get_by_role("dialog").get_by_role("button", name="Forget all").click()
        expect(page.locator("#lessons-text")).to_contain_text("None yet")
        assert not list(tmp_path.glob("lessons-ward/*.json"))
