"""How far above its noise a microphone hears: by hand, and a short day of real sound at several levels."""

import numpy as np
import pytest

from edge.daemon.health import HealthMeter
from edge.hearing.pipeline import Pipeline
from edge.hearing.reach import DAY_S, LITTLE_DB, Reach, faint
from edge.model.artifact import DEFAULT_MODEL, load
from edge.sound.blocks import BLOCK_S, timed_blocks
from edge.sound.recording import load_recording
from tests.support.sounds import ROOT

SHORT_DAY_S = 600.0  # in which a minute is 0.4 s
NOISE_DBFS = -55.0


def day(*loud_s: float, above_db: float) -> Reach:
    """A day of a quiet room, 2 dB above its floor, with so many seconds of something louder, one after the other."""
    reach = Reach()
    for seconds in loud_s:
        for _ in range(round(seconds / BLOCK_S)):
            reach.add(above_db)
    for _ in range(round((DAY_S - sum(loud_s)) / BLOCK_S)):
        reach.add(2.4)
    return reach


def test_a_minute_of_a_day_tells_and_a_door_does_not():
    assert day(30, 31, above_db=27.9).db == 27
    assert day(58, above_db=27.9).db == 2


def test_before_a_day_was_heard_nothing_is_known():
    reach = Reach()
    for _ in range(round(DAY_S / BLOCK_S) - 1):
        reach.add(30.0)
    assert reach.db is None
    reach.add(30.0)
    assert reach.db == 30


def test_what_was_loud_is_forgotten_after_a_day():
    reach = day(3_600, above_db=30.0)
    assert reach.db == 30
    for _ in range(round(3_600 / BLOCK_S)):
        reach.add(2.0)
    assert reach.db == 2


def test_levels_that_cannot_be_are_the_nearest_that_can():
    reach = Reach(day_s=SHORT_DAY_S)
    for _ in range(round(SHORT_DAY_S / BLOCK_S)):
        reach.add(-300.0)
    assert reach.db == 0
    for _ in range(round(SHORT_DAY_S / BLOCK_S)):
        reach.add(300.0)
    assert reach.db == 80


def test_words_only_where_it_hears_little():
    assert faint(None) is None
    assert faint(LITTLE_DB) is None
    assert faint(LITTLE_DB - 1).startswith("in a day of listening the loudest minute was 9 dB above the noise")


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return load_recording(ROOT / "edge" / "commands" / "demo.flac")


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("level_db", "well"),
    [(0.0, True), (-20.0, True), (-45.0, False), (-80.0, False)],
    ids=["near", "across the room", "turned down too far", "nobody"],
)
def test_real_sound_through_the_sensor_at_several_levels(speech, level_db, well):
    """The bundled recording, in a room (or a microphone) that hisses, so much weaker than it was recorded."""
    artifact, model = load(DEFAULT_MODEL)
    pipeline, meter = Pipeline(model, artifact.manifest), HealthMeter()
    meter.reach = Reach(day_s=SHORT_DAY_S)
    noise = np.random.default_rng(0).standard_normal(round((SHORT_DAY_S + 1) * 16_000)).astype(np.float32)
    sound = noise * np.float32(10 ** (NOISE_DBFS / 20))
    start = 120 * 16_000
    sound[start : start + len(speech)] += speech * np.float32(10 ** (level_db / 20))
    heard = False
    for block in timed_blocks([sound], started_at=0.0):
        observation = pipeline.process(block)
        heard = heard or (observation.speaking and block.end_s > 60)
        meter.hear(block, observation)
    assert (faint(meter.reach.db) is None) == well
    assert heard or not well  # what is well heard is also understood as speech
