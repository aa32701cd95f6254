"""The dashboard and a real sensor at a real (virtual) microphone, joined by a real broker."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from itertools import cycle
from pathlib import Path

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
        figures = page.locator("#lessons-figures").inner_text()
        for name in ("right_before", "right_after"):
            assert f"{name.replace('_', ' ').capitalize()}\n{round(100 * told[name])} %" in figures
        assert list(tmp_path.glob("lessons-ward/*.json"))
        page.reload()  # what was taught is known to whoever comes later
        expect(page.locator("#changes .chip")).to_have_count(len(moments))
        page.get_by_role("button", name="Forget all").click()
        page.get_by_role("dialog").get_by_role("button", name="Forget all").click()
        expect(page.locator("#lessons-text")).to_contain_text("None yet")
        assert not list(tmp_path.glob("lessons-ward/*.json"))
