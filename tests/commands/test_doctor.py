"""The doctor before patients whose illness is known."""

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import yaml

from edge import pulse
from edge.commands.doctor.machine import secrets, sound_cards
from edge.config import EdgeConfig, Mqtt
from tests.dashboard.puppet import Puppet
from tests.support.broker import HOST, free_port
from tests.support.patience import PATIENCE_S
from tests.support.sounds import ROOT, chirp, to_int16


def doctor(folder: Path, edge: dict, **environment: str) -> tuple[int, dict[str, str]]:
    """Return the exit status, and the line about each subject."""
    (folder / "config.yaml").write_text(yaml.safe_dump({"edge": edge}))
    done = subprocess.run(
        [sys.executable, "-m", "edge", "doctor"],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), **environment}, capture_output=True, text=True,
        timeout=PATIENCE_S,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert done.stderr == ""
    return done.returncode, {line[6:].partition(":")[0]: line for line in done.stdout.splitlines()}


def settings(port: int, folder: Path, **more) -> dict:
    return {"mqtt": {"host": HOST, "port": port}, "state_folder": str(folder / "state"), **more}


def test_a_healthy_sensor(tmp_path, broker, virtual_microphone):
    with virtual_microphone.humming(to_int16(chirp(seconds=2.0))):
        status, lines = doctor(tmp_path, settings(broker.port, tmp_path), **virtual_microphone.variables)
    assert status == 0, lines
    assert set(lines) == {
        "configuration", "settings", "model", "microphone", "listening", "level", "sound cards", "clock", "disk",
        "broker", "day", "secrets",
    }  # fmt: skip
    assert all(line.startswith(("ok   ", "warn ")) for line in lines.values()), lines
    assert lines["level"].startswith("ok")
    assert lines["listening"] == "ok    listening: switched on"
    assert "dBFS" in lines["level"]
    assert "Hz" in lines["level"] or "speak to learn" in lines["level"]
    assert "golden replay within" in lines["model"]
    assert f"{HOST}:{broker.port}: connected" in lines["broker"]
    assert not (tmp_path / "state").exists()  # looking leaves nothing behind


def test_a_silent_microphone_is_warned_about(tmp_path, broker, virtual_microphone):
    status, lines = doctor(tmp_path, settings(broker.port, tmp_path), **virtual_microphone.variables)
    assert status == 0
    assert lines["level"].startswith("warn")
    assert "digital silence: unmute it" in lines["level"]


def test_no_microphone_and_no_broker_are_69_with_a_remedy(tmp_path):
    status, lines = doctor(
        tmp_path, settings(free_port(), tmp_path, audio={"microphone": "No Such Device"}), PULSE_SERVER="unix:/nowhere"
    )
    assert status == 69
    assert lines["microphone"].startswith("FAIL")
    assert "No Such Device" in lines["microphone"]
    assert "level" not in lines
    assert lines["broker"].startswith("FAIL")
    assert "connection refused: correct edge.mqtt, or start the broker" in lines["broker"]


def test_a_secret_that_is_not_there_is_named_with_no_remedy_of_another_trouble(tmp_path):
    edge = settings(free_port(), tmp_path)
    edge["mqtt"]["password_file"] = str(tmp_path / "password")
    status, lines = doctor(tmp_path, edge, PULSE_SERVER="unix:/nowhere")
    assert status == 78  # the configuration's, which comes first
    why = f"edge.mqtt.password_file: {tmp_path}/password: cannot be read (No such file or directory)"
    assert lines["configuration"].startswith("FAIL  configuration: ")
    assert lines["configuration"].endswith(f"config.yaml: {why}")
    assert lines["broker"] == f"FAIL  broker: {why}"
    assert lines["secrets"] == "ok    secrets: none are there"


@pytest.mark.parametrize(
    ("health", "line"),
    [
        (None, "ok    day: no sensor here has listened for a day yet"),
        ({"loudest_minute_db": None}, "ok    day: no sensor here has listened for a day yet"),
        ({"loudest_minute_db": 31}, "ok    day: the loudest minute of a day was 31 dB above the noise"),
        (
            {"loudest_minute_db": 4},
            "warn  day: in a day of listening the loudest minute was 4 dB above the noise: if anybody spoke, the "
            "microphone is too far away or turned down too far, or a fan or its own hiss drowns them: put it nearer, "
            "turn it up (alsamixer), or take another",
        ),
    ],
    ids=["never heard of", "not a day yet", "near", "far"],
)
def test_what_a_day_told_the_sensor(tmp_path, broker, health, line):
    recorded = ROOT / "tests" / "data" / "payloads" / "2026-11-26-health.jsonl"
    if health is not None:
        payload = json.loads(recorded.read_text().splitlines()[-1]) | health
        with Puppet(broker.port, "room") as sensor:
            sensor.send("health", payload)
    status, lines = doctor(tmp_path, settings(broker.port, tmp_path), PULSE_SERVER="unix:/nowhere")
    assert lines["day"] == line
    assert status == 69  # the microphone's


def test_what_a_day_told_is_not_asked_where_no_broker_answers(tmp_path):
    _, lines = doctor(tmp_path, settings(free_port(), tmp_path), PULSE_SERVER="unix:/nowhere")
    assert lines["day"] == "ok    day: what a day told the sensor is not known: the broker does not say"


def test_a_bad_model_and_a_bad_state_folder(tmp_path, broker):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "bad.tflite").write_bytes(b"hello" * 50)
    edge = {
        "mqtt": {"host": HOST, "port": broker.port},
        "state_folder": str(tmp_path / "file" / "state"),
        "model": "bad.tflite",
    }
    status, lines = doctor(tmp_path, edge)
    assert status == 65
    assert lines["model"].startswith("FAIL")
    assert "not a TFLite model: install another one" in lines["model"]
    assert lines["disk"].startswith("FAIL")
    assert "file is no folder: give it to this user, or set edge.state_folder" in lines["disk"]


@pytest.mark.parametrize(("mode", "mark"), [(0o600, "ok"), (0o644, "warn"), (0o660, "warn")])
def test_secrets_that_others_can_read(tmp_path, mode, mark):
    secret = tmp_path / "password"
    secret.write_text("x")
    secret.chmod(mode)
    told = secrets(EdgeConfig(mqtt=Mqtt(host=HOST, password_file=str(secret))))
    assert str(told).startswith(mark)
    assert ("chmod 600" in told.remedy) == (mark == "warn")


def test_a_sound_card_that_may_not_be_opened(tmp_path):
    (tmp_path / "pcmC0D0c").touch()
    assert sound_cards(EdgeConfig(), folder=tmp_path).exit_status == 0
    (tmp_path / "pcmC1D0c").symlink_to(tmp_path / "nowhere")  # which not even root can open
    told = sound_cards(EdgeConfig(), folder=tmp_path)
    assert told.exit_status == 69
    assert told.remedy


def test_beside_a_sensor_it_repeats_what_that_says_and_misses_it_when_it_is_stuck(tmp_path, broker, monkeypatch):
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    edge = settings(broker.port, tmp_path)
    assert "sensor" not in doctor(tmp_path, edge)[1]  # none has begun here
    pulse.beat("quiet; broker: may not publish roomtone/attic/state: Not authorized")
    assert "Not authorized" in doctor(tmp_path, edge)[1]["sensor"]
    file = tmp_path / "run" / pulse.FILE
    last = msgspec.json.decode(file.read_bytes(), type=pulse.Beat)
    file.write_bytes(msgspec.json.encode(pulse.Beat(last.monotonic_s - 1_000, last.words)))
    said = doctor(tmp_path, edge)[1]
    assert said["sensor"].startswith("FAIL")
    assert "no sign of life for 1" in said["sensor"]
