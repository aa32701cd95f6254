"""The real thing: a sensor that never heard a speaker is corrected over MQTT, and is right more often thereafter."""

import json
import random
import subprocess
from itertools import islice

import numpy as np
import pytest

from edge.hearing.pipeline import Pipeline
from edge.labels import QUIET
from edge.model.artifact import load
from edge.sound.blocks import BLOCK_SAMPLES, timed_blocks
from edge.sound.recording import load_recording
from tests.daemon.test_teaching import answer, command, said
from tests.support.artifacts import MOMENTS
from tests.support.broker import Broker
from tests.support.daemon import Daemon
from tests.support.sounds import CORPORA, to_int16
from tests.support.subscriber import Subscriber

# Of a corpus, in a language, that MOMENTS was not trained on; nor does it know the room, which lessons would change.
SPEAKER = "IC0"
WORDS = {"anger": "angry", "fear": "fear", "happiness": "happy", "neutral": "neutral", "sadness": "sad",
         "surprised": "surprise"}  # fmt: skip
LESSONS, TESTED = 4, 5  # clips of each label
PAUSE_S = 1.2


@pytest.fixture(scope="module")
def clips() -> dict[str, list[np.ndarray]]:
    """Clips of the speaker by label, int16: those to teach, then those to hear again."""
    found = {}
    for emotion, label in WORDS.items():
        paths = sorted((CORPORA / "nEMO").glob(f"{SPEAKER}_{emotion}_*.opus"))
        if not paths:
            pytest.skip("needs the corpus nEMO (ROOMTONE_CORPORA)")
        random.Random(0).shuffle(paths)
        sounds = filter(is_heard, (to_int16(load_recording(path)) for path in paths))
        found[label] = list(islice(sounds, LESSONS + TESTED))
    return found


def played(clip: np.ndarray) -> np.ndarray:
    """Return a clip between pauses, in whole blocks, so that they begin at the same places every time."""
    noise = np.random.default_rng(0).integers(-3, 4, round(PAUSE_S * 16_000)).astype(np.int16)
    sound = np.concatenate([noise, clip, noise])
    return sound[: len(sound) - len(sound) % BLOCK_SAMPLES]


def is_heard(clip: np.ndarray) -> bool:
    """Return whether a sensor says anything of a clip: some are too short of speech."""
    artifact, model = load(MOMENTS)
    pipeline = Pipeline(model, artifact.manifest)
    blocks = timed_blocks([played(clip).astype(np.float32) / 32_768], started_at=0.0)
    return any(pipeline.process(block).label != QUIET for block in blocks)


def heard(daemon: Daemon, watcher: Subscriber, clip: np.ndarray) -> dict:
    """Play a clip into a sensor's standard input; return the last event of it with a label."""
    known = len(watcher.on("event"))
    daemon.process.stdin.write(played(clip).tobytes())
    daemon.process.stdin.flush()
    watcher.wait_for(lambda w: len(w.on("event")) > known and w.on("event")[-1].json["event_type"] == QUIET)
    return [message.json for message in watcher.on("event")[known:] if message.json["event_type"] != QUIET][-1]


def right(daemon: Daemon, watcher: Subscriber, clips: dict[str, list[np.ndarray]]) -> list[tuple[str, str]]:
    """Return what was said and what was heard, for the clips that are no lessons."""
    found = []
    for label, sounds in clips.items():
        for sound in sounds[LESSONS:]:
            found.append((label, heard(daemon, watcher, sound)["event_type"]))
    return found


def test_a_speaker_who_corrects_it_is_understood_better_and_forgetting_undoes_that(tmp_path, broker: Broker, clips):
    # The likeliest label, however sure, so that all are compared.
    edge = {"model": str(MOMENTS), "decision": {"enter": 0.0, "exit": 0.0}}
    with (
        Subscriber(broker.port) as watcher,
        Daemon(tmp_path, broker.port, recording="-", stdin=subprocess.PIPE, edge=edge) as daemon,
    ):
        watcher.wait_for(lambda w: said(w))
        for sounds in clips.values():  # until it knows how loud the room is
            heard(daemon, watcher, sounds[-1])
        before = right(daemon, watcher, clips)
        for number in range(LESSONS):
            for label, sounds in clips.items():
                event = heard(daemon, watcher, sounds[number])
                done = len(watcher.on("lessons"))
                command(broker.port, {"event_id": event["event_id"], "label": label})
                watcher.wait_for(lambda w, done=done: len(w.on("lessons")) > done)
                assert answer(watcher)["done"], answer(watcher)
        figures = said(watcher)
        after = right(daemon, watcher, clips)
        command(broker.port, {"event_id": "all"}, topic="forget")
        watcher.wait_for(lambda w: said(w)["count"] == 0)
        again = right(daemon, watcher, clips)
        daemon.process.stdin.close()

    def share(found: list[tuple[str, str]]) -> float:
        return sum(label == said for label, said in found) / len(found)

    print(f"\nright before {share(before):.2f}, after {share(after):.2f}; {json.dumps(figures)[:400]}")
    assert figures["in_use"]
    assert figures["right_after"] >= figures["right_before"]
    assert share(after) > share(before)
    assert [pair for pair in zip(before, again, strict=True) if pair[0] != pair[1]] == []
