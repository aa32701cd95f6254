"""A model that hears utterances against their room, in the hands of every command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

from edge.commands.demo import RECORDING
from tests.support.artifacts import UTTERANCE
from tests.support.daemon import Daemon
from tests.support.patience import PATIENCE_S
from tests.support.runtimes import both_runtimes, python_of
from tests.support.sounds import ROOT
from tests.support.subscriber import Subscriber


def roomtone(*arguments: object, cwd: Path, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-m", "edge", *map(str, arguments)],
        cwd=cwd, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip


def configured(folder: Path, **edge: object) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({"edge": {"state_folder": str(folder / "state"), **edge}}))
    return path


def test_info_says_what_it_hears(tmp_path):
    manifest = json.loads(roomtone("model", "info", "--json", UTTERANCE, cwd=tmp_path).stdout)
    lines = roomtone("model", "info", UTTERANCE, cwd=tmp_path).stdout
    assert f"dense, {len(manifest['functionals'])} functionals of an utterance" in lines
    assert "40 MFCCs, pitch and spectral shape, against the room's baseline" in lines


@both_runtimes
def test_each_recording_is_a_room_of_its_own(runtime, tmp_path):
    config = configured(tmp_path, model=str(UTTERANCE))
    done = roomtone(
        "--config", config, "classify", "--json", RECORDING, RECORDING, cwd=tmp_path, python=python_of(runtime)
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    (first, second) = (line["summary"] for line in lines if "summary" in line)
    assert first.pop("realtime_factor") < 0.5
    second.pop("realtime_factor")
    assert first == second
    events = [line for line in lines if "summary" not in line]
    assert events[: len(events) // 2] == events[len(events) // 2 :] != []


def test_check_passes_and_install_puts_it_on_trial(tmp_path):
    done = roomtone("--config", configured(tmp_path, model=str(UTTERANCE)), "check", cwd=tmp_path)
    assert "tiny-1-utterance-float32, golden replay passed" in done.stdout
    config = configured(tmp_path, model_store={"allow_unsigned": True})
    done = roomtone("--config", config, "model", "install", UTTERANCE, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "tiny-1-utterance-float32: verified and installed" in done.stdout
    assert "tiny-1-utterance-float32" in roomtone("--config", config, "check", cwd=tmp_path).stdout


def test_home_assistant_is_told_of_its_moods(tmp_path, broker):
    moods = ["tense", "bright", "calm", "low", "excited", "unknown", "quiet"]
    edge = {"homeassistant": {"enabled": True}, "model": str(UTTERANCE)}
    said = roomtone("--config", configured(tmp_path, **edge), "homeassistant", cwd=tmp_path).stdout
    assert json.loads(said.partition("\n")[2])["components"]["mood"]["options"] == moods
    with Subscriber(broker.port, "homeassistant/device/#") as watcher, Daemon(tmp_path, broker.port, edge=edge):
        watcher.wait_for(lambda w: w.messages)
        assert watcher.messages[0].json["components"]["mood"]["options"] == moods
