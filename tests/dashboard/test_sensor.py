"""The dashboard and a real sensor at a real (virtual) microphone, joined by a real broker."""

import os
import subprocess
import sys
from collections.abc import Iterator
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
