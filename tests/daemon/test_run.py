"""The whole chain on a real microphone: clips played into it come out of a real broker as emotions."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge.commands.classify import classify
from edge.commands.demo import RECORDING
from edge.config import EdgeConfig, Mqtt
from edge.daemon.run import sense
from edge.labels import QUIET
from edge.model.artifact import DEFAULT_MODEL, load
from edge.sound.blocks import BLOCK_S, BLOCK_SAMPLES, Block
from edge.sound.recording import load_recording
from tests.support.broker import Broker, free_port
from tests.support.patience import PATIENCE_S
from tests.support.sounds import ROOT, corpus_clips, to_int16
from tests.support.subscriber import Subscriber

# The sensor itself, with its microphone's blocks kept aside: only a test may do that.
SENSOR_WITH_A_COPY = """
import sys
import numpy as np, soundfile
from edge.sound.blocks import Block
from edge.config import load_edge
from edge.sound.microphone import Microphone
from edge.daemon.run import sense
from edge.daemon.stopping import stop_signal
from tests.support.sounds import to_int16
config, kept = load_edge(sys.argv[1]), []
def copied(items):
    for item in items:
        if isinstance(item, Block):
            kept.append(item.captured)
        yield item
with stop_signal() as stopping, Microphone(config.audio) as microphone:
    sense(config, copied(microphone.blocks()), stopping=stopping)
soundfile.write(sys.argv[2], to_int16(np.concatenate(kept)), 16_000)
"""

PAUSE = np.zeros(2 * 16_000, np.int16)


def played_sound() -> list[np.ndarray]:
    """Return what is played: TESS clips where they are present, else the demo's synthetic speech."""
    try:
        clips = [load_recording(path) for path in corpus_clips(6, folders=("TESS",))]
    except pytest.skip.Exception:
        clips = np.split(load_recording(RECORDING)[: 18 * 16_000], 3)
    return [to_int16(sound / np.abs(sound).max() * 0.5) for sound in clips]


def facts(event: dict) -> tuple:
    return tuple(event[name] for name in ("event_type", "previous", "confidence", "previous_duration_ms"))


def labels(events: list[dict]) -> list[str]:
    return [event["event_type"] for event in events if event["event_type"] != QUIET]


def test_what_is_played_is_published_and_a_replay_gives_the_same_events(
    tmp_path, broker, virtual_microphone, record_property
):
    (tmp_path / "config.yaml").write_text(f"edge: {{mqtt: {{host: 127.0.0.1, port: {broker.port}}}}}")
    copy = tmp_path / "heard.wav"
    with Subscriber(broker.port) as watcher:
        sensor = subprocess.Popen(
            [sys.executable, "-c", SENSOR_WITH_A_COPY, str(tmp_path / "config.yaml"), str(copy)],
            env={**virtual_microphone.env, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            text=True,
        )
        watcher.wait_for(lambda w: any(m.json["microphone"] == "ok" for m in w.on("state")))
        clips = played_sound()
        virtual_microphone.play(np.concatenate([PAUSE, *(part for clip in clips for part in (clip, PAUSE))]))
        sensor.send_signal(signal.SIGTERM)
        _, stderr = sensor.communicate(timeout=PATIENCE_S)
        assert sensor.returncode == 0, stderr
        live = [message.json for message in watcher.on("event")]
        states = [message.json for message in watcher.on("state")]
    assert live
    assert [event["seq"] for event in live] == sorted(event["seq"] for event in live)
    assert {state["microphone"] for state in states} <= {"ok", "starting", "zeros"}

    artifact, model = load(DEFAULT_MODEL)
    replayed = [line for line in classify(copy, model, artifact.manifest, EdgeConfig()) if "summary" not in line]
    assert [facts(event) for event in replayed] == [facts(event) for event in live]

    # Alone, a clip meets a sensor that has heard nothing yet; in a row, one that knows the room: labels may differ.
    alone = []
    for number, clip in enumerate(clips):
        soundfile.write(tmp_path / f"{number}.wav", np.concatenate([PAUSE, clip, PAUSE]), 16_000)
        lines = classify(tmp_path / f"{number}.wav", model, artifact.manifest, EdgeConfig())
        alone.append([facts(line)[0] for line in lines if line.get("event_type", QUIET) != QUIET])
    record_property("labels of the clips alone", alone)
    record_property("labels through the microphone", labels(live))
    print(f"\nalone {alone}\nlive  {labels(live)}")
    assert sum(map(len, alone)) == pytest.approx(len(labels(live)), abs=3)


def test_a_recording_played_as_a_microphone_gives_the_events_of_classify(tmp_path, broker):
    (tmp_path / "config.yaml").write_text(f"edge: {{mqtt: {{host: 127.0.0.1, port: {broker.port}}}}}")
    sound = tmp_path / "talk.flac"
    soundfile.write(sound, np.concatenate([part for clip in played_sound()[:3] for part in (clip, PAUSE)]), 16_000)
    command = [sys.executable, "-m", "edge"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with Subscriber(broker.port) as watcher:
        playing = [*command, "run", "--input", str(sound)]
        subprocess.run(playing, cwd=tmp_path, env=environment, check=True, timeout=PATIENCE_S)
        watcher.wait_for(lambda w: [m.payload for m in w.on("status")][-1:] == ["offline"])
        live = [message.json for message in watcher.on("event")]
    told = subprocess.run(
        [*command, "classify", "--json", str(sound)], cwd=tmp_path, env=environment, check=True, capture_output=True
    )
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    assert [facts(line) for line in lines if "summary" not in line] == [facts(event) for event in live]
    assert live


def plays(tmp_path: Path, port: int, state: str) -> subprocess.CompletedProcess:
    """Return what `run --input` says of a recording, with a state folder of this name."""
    sound = tmp_path / "talk.flac"
    soundfile.write(sound, np.concatenate([played_sound()[0], PAUSE]), 16_000)
    (tmp_path / "config.yaml").write_text(
        f"edge: {{mqtt: {{host: 127.0.0.1, port: {port}}}, state_folder: {tmp_path}/{state}}}"
    )
    command = [sys.executable, "-m", "edge", "run", "--input", str(sound)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)


def test_a_recording_of_which_no_broker_tells_whether_it_may_be_heard_is_not(tmp_path):
    done = plays(tmp_path, free_port(), "state")
    assert done.returncode == 69
    assert "did not tell within 20 s whether listening is on: nothing was heard" in done.stderr.splitlines()[-1]
    assert "sound flows" not in done.stderr
    assert not list(tmp_path.glob("state/*"))


@pytest.mark.parametrize(
    ("state", "says"),
    [("state", " the next run sends them, late"), ("file/state", " are lost"), ("x" * 300, " are lost")],
    ids=["kept", "in a file", "too long"],
)
def test_a_recording_that_the_broker_did_not_take_says_so(tmp_path, state, says):
    """A state folder that cannot be one costs no sensor its life, and is said for what it is."""
    (tmp_path / "file").write_text("in the way")
    with Broker(tmp_path / "broker", acl="topic read roomtone/#\n") as deaf:
        done = plays(tmp_path, deaf.port, state)
    assert done.returncode == 69
    assert re.search(rf"events were not delivered;.*{says}$", done.stderr.splitlines()[-1])
    assert ("late events stay in memory only" in done.stderr) == (state != "state")
    assert ("nothing is kept; give it to this sensor's user" in done.stderr) == (state != "state")


@pytest.mark.parametrize("live", [True, False], ids=["a microphone", "a recording"])
def test_it_says_how_far_its_microphone_is_behind_real_time(live):
    """What deploy/trial.sh takes a new version back for; a recording may be as late as it likes."""
    silence, said = np.zeros(BLOCK_SAMPLES, np.float32), []

    def blocks():
        for number, behind_s in enumerate((0.0, 1.0, 7.2, 1.0), start=1):
            yield Block(samples=silence, end_s=number * BLOCK_S, captured_at=time.time() - behind_s)
            time.sleep(0.3)  # it looks around four times a second

    config = EdgeConfig(mqtt=Mqtt(host="127.0.0.1", port=free_port()))
    sense(config, blocks(), stopping=lambda: False, again=live, show=said.append)
    late = [re.search(r"; \d+ s behind real time$", words) for words in said]
    assert [found and found[0] for found in late] == [None, None, "; 7 s behind real time" if live else None, None]
