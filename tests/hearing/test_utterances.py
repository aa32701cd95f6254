"""Where an utterance begins and ends, and what is told of it: the chain with a speech gate and a model that are told
what to say, so that each of its own rules stands alone."""

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge.config import Decision, Gate
from edge.errors import ArtifactError
from edge.features.mfcc import MfccSpec
from edge.hearing.observation import Observation
from edge.hearing.pipeline import Pipeline
from edge.labels import QUIET
from edge.model.artifact import load, read_artifact
from edge.sound.blocks import BLOCK_S, BLOCK_SAMPLES, Block
from tests.support.artifacts import MOMENTS, STEP, UTTERANCE

MANIFEST = read_artifact(MOMENTS).manifest
HAPPY = MANIFEST.labels.index("happy")
LOUD_DBFS, STILL_DBFS = -30.0, -70.0
AT_ONCE = Decision(smoothing_ms=0, dwell_ms=0, first_within_ms=0, unknown_after_ms=0, refractory_ms=0)


class Ear:
    """A speech gate that says what it is told, and keeps what it was given."""

    def __init__(self) -> None:
        self.says = 0.0
        self.histories: list[np.ndarray] = []
        self.asked = 0

    def reset(self, history: np.ndarray) -> None:
        self.histories.append(history.copy())

    def process(self, samples: np.ndarray, frames: np.ndarray) -> float:
        assert self.histories, "asked before it was reset"
        assert len(samples) == BLOCK_SAMPLES
        self.asked += 1
        return self.says


class Happy:
    """A model that hears joy in everything, and counts the blocks of each utterance."""

    def __init__(self) -> None:
        self.blocks: list[int] = []

    def reset(self) -> None:
        self.blocks.append(0)

    def process(self, frames: np.ndarray) -> np.ndarray:
        self.blocks[-1] += len(frames) // MANIFEST.features.block_frames
        return np.eye(len(MANIFEST.labels), dtype=np.float32)[HAPPY]


class Room:
    """Plays blocks of noise at a level to a pipeline whose ear says how much of speech they are.

    path: of an artifact whose model hears; otherwise one hears that hears joy in everything.
    """

    def __init__(self, *, decision: Decision = AT_ONCE, path: Path | None = None, **gate: float) -> None:
        self.ear = Ear()
        artifact, self.model = load(path) if path else (None, Happy())
        settings = {"certain_ms": 0, "pre_roll_ms": 320, "hang_over_ms": 400, **gate}
        self.pipeline = Pipeline(
            self.model, artifact.manifest if artifact else MANIFEST,
            gate=Gate(**settings), decision=decision, speech_gate=self.ear,
        )  # fmt: skip
        self.samples = np.zeros(BLOCK_SAMPLES, np.float32)
        self._noise = np.random.default_rng(0)
        self._blocks = 0

    @property
    def now_s(self) -> float:
        return self._blocks * BLOCK_S

    def hear(
        self, speech: float, blocks: int = 1, *, level_dbfs: float = LOUD_DBFS, clipped: int = 0
    ) -> list[Observation]:
        return [self._hear(speech, level_dbfs, clipped) for _ in range(blocks)]

    def _hear(self, speech: float, level_dbfs: float, clipped: int) -> Observation:
        self.ear.says = speech
        self._blocks += 1
        noise = self._noise.standard_normal(BLOCK_SAMPLES)
        self.samples = (noise / noise.std() * 10 ** (level_dbfs / 20)).astype(np.float32)
        self.samples[:clipped] = 1.0
        return self.pipeline.process(Block(samples=self.samples, end_s=self.now_s, captured_at=0.0))

    def still(self, blocks: int = 1) -> list[Observation]:
        return self.hear(0.0, blocks, level_dbfs=STILL_DBFS)


def speaking(observed: list[Observation]) -> list[bool]:
    return [each.speaking for each in observed]


@pytest.mark.parametrize(("hang_over_ms", "blocks"), [(80, 1), (400, 5), (440, 6), (640, 8)])
def test_an_utterance_ends_after_the_hang_over(hang_over_ms, blocks):
    room = Room(hang_over_ms=hang_over_ms)
    assert speaking(room.hear(1.0, 3)) == [True] * 3
    assert speaking(room.still(blocks + 1)) == [True] * (blocks - 1) + [False] * 2
    assert speaking(room.hear(1.0)) == [True]
    assert speaking(room.still(blocks)) == [True] * (blocks - 1) + [False]  # counted anew
    assert len(room.model.blocks) == 2


def test_speech_in_a_pause_begins_the_hang_over_anew():
    room = Room(hang_over_ms=240)
    for _ in range(4):
        assert all(speaking(room.hear(1.0) + room.still(2)))
    assert speaking(room.still()) == [False]


@pytest.mark.parametrize(("pre_roll_ms", "most"), [(320, 5), (440, 7), (0, 1), (60, 2)])
@pytest.mark.parametrize("before", range(9))
def test_an_utterance_begins_where_the_level_rose_unless_that_is_long_ago(pre_roll_ms, most, before):
    """What is loud and no speech yet belongs to it; where it has lasted too long, the last two blocks do."""
    room = Room(pre_roll_ms=pre_roll_ms)
    room.still(20)
    if before:
        assert not any(speaking(room.hear(0.0, before)))
    (observed,) = room.hear(1.0)
    blocks = before + 1 if before < most else min(3, most)
    assert observed.onset_s == pytest.approx(room.now_s - blocks * BLOCK_S)
    assert room.model.blocks == [blocks]
    assert room.hear(1.0)[0].onset_s == observed.onset_s
    assert room.model.blocks == [blocks + 1]
    assert room.still(10)[-1].onset_s is None


@pytest.mark.parametrize(("certain_ms", "blocks"), [(0, 1), (80, 1), (240, 3), (440, 6), (5_000, 62)])
def test_a_label_waits_until_it_is_certain_that_somebody_speaks(certain_ms, blocks):
    room = Room(certain_ms=certain_ms, certain_probability=0.98)
    if certain_ms:
        assert not any(each.change for each in room.hear(0.97, 10))  # speech, and never certain
    for _ in range(2):  # each utterance has to convince anew
        changes = [each.change for each in room.hear(0.98, blocks)]
        assert [change.label for change in changes if change] == ["happy"]
        assert changes[-1] is not None
        room.still(10)


def test_the_change_says_what_it_came_from_and_how_sure_it_is():
    room = Room()
    room.still(10)
    (first,) = room.hear(1.0)
    assert (first.change.label, first.change.previous, first.change.confidence) == ("happy", QUIET, 1.0)
    assert first.change.at_s == first.since_s == room.now_s
    assert first.change.previous_duration_s == pytest.approx(11 * BLOCK_S)
    (*_, last) = room.still(5)
    assert (last.change.label, last.change.previous) == (QUIET, "happy")
    assert last.change.previous_duration_s == pytest.approx(5 * BLOCK_S)
    assert last.scores is None


def test_quiet_is_as_sure_as_the_gate_that_hears_no_speech():
    room = Room()
    assert room.hear(0.3)[0].confidence == pytest.approx(0.7)
    assert room.hear(0.3, level_dbfs=STILL_DBFS)[0].confidence == 1.0  # what is not loud is no speech, whatever it is


def test_doubtful_speech_goes_on_and_does_not_begin():
    room, faint_dbfs = Room(doubtful_probability=0.5, speech_probability=0.8, strong_margin_db=20), -50.0
    assert not any(speaking(room.hear(0.6, 10, level_dbfs=faint_dbfs)))
    room.hear(0.9, level_dbfs=faint_dbfs)
    assert all(speaking(room.hear(0.6, 20, level_dbfs=faint_dbfs)))


def test_without_sound_the_utterance_ends_and_nobody_is_sure_of_anything():
    room = Room()
    room.hear(1.0, 3)
    change = room.pipeline.interrupt(room.now_s)
    assert (change.label, change.previous, change.confidence, change.at_s) == (QUIET, "happy", 0.0, room.now_s)
    assert room.pipeline.interrupt(room.now_s + 1) is None
    resets = len(room.ear.histories)
    (observed,) = room.hear(1.0)
    assert observed.change.previous == QUIET
    assert observed.onset_s == pytest.approx(room.now_s - BLOCK_S)  # what was loud before is gone
    assert len(room.ear.histories) == resets + 1


def test_attention_begins_with_the_samples_before_it():
    room = Room()
    overlap = MANIFEST.features.overlap_samples
    room.hear(0.0)
    assert room.ear.histories[0].dtype == np.float32
    np.testing.assert_array_equal(room.ear.histories[0], np.zeros(overlap))  # before the first block there was nothing
    room.still(5)
    before = room.samples
    room.hear(0.0)
    np.testing.assert_array_equal(room.ear.histories[1], before[-overlap:])
    room.pipeline.interrupt(room.now_s)
    room.hear(0.0)
    assert room.ear.histories[2].dtype == np.float32
    np.testing.assert_array_equal(room.ear.histories[2], np.zeros(overlap))


def test_a_level_that_has_just_fallen_is_looked_at_and_one_that_stays_low_is_not():
    room = Room()
    room.still(20)
    assert room.ear.asked == 0
    room.hear(0.0, 2)
    room.still(2)
    assert room.ear.asked == 4
    room.still(10)
    assert room.ear.asked == 4
    room.hear(0.0)
    room.still(2)
    room.hear(0.0)
    assert room.ear.asked == 8
    assert len(room.ear.histories) == 2  # it never looked away


def test_speech_stands_out_of_the_floor_by_so_many_decibels():
    room = Room(floor_window_s=3)
    room.still(100)
    assert room.hear(0.0)[0].snr_db is None
    first, second, third = (room.hear(1.0, level_dbfs=level)[0] for level in (-20.0, -30.0, -30.0))
    assert first.snr_db == pytest.approx(50, abs=0.1)
    assert second.snr_db == pytest.approx(48, abs=0.1)  # a fifth of the way
    assert third.snr_db == pytest.approx(46.4, abs=0.1)
    assert room.still(10)[-1].snr_db is None
    assert room.hear(1.0)[0].snr_db == pytest.approx(40, abs=0.1)


def test_the_ratios_are_of_the_last_ten_seconds():
    room = Room()
    assert [each.speech_ratio for each in room.hear(1.0) + room.hear(0.0)] == [1.0, 0.5]
    assert room.hear(1.0, 124)[-1].speech_ratio == pytest.approx(124 / 125)
    assert room.hear(0.0, 25)[-1].speech_ratio == pytest.approx(100 / 125)
    share = room.hear(0.0, clipped=128)[0].clipped_ratio
    assert share == pytest.approx(0.1 / 125)
    assert room.hear(0.0, 124)[-1].clipped_ratio == share
    assert room.hear(0.0)[0].clipped_ratio == 0.0


def test_an_observation_gives_its_scores_by_label():
    room = Room()
    (before,) = room.still()
    assert before.scores_of(MANIFEST.labels) == {}
    assert (before.probs, before.onset_s) == (None, None)
    (observed,) = room.hear(1.0)
    np.testing.assert_array_equal(observed.probs, np.eye(len(MANIFEST.labels))[HAPPY])
    assert observed.scores_of(MANIFEST.labels) == {label: float(label == "happy") for label in MANIFEST.labels}
    odd = msgspec.structs.replace(observed, scores=np.array([1 / 3, 2 / 3]))
    assert odd.scores_of(["sad", "happy"]) == {"sad": 0.3333, "happy": 0.6667}
    with pytest.raises(ValueError, match=r"shorter|longer"):
        odd.scores_of(["sad"])


def test_the_labels_are_the_models():
    assert Room().pipeline.labels == MANIFEST.labels


def test_a_model_for_other_blocks_is_refused():
    other = msgspec.structs.replace(MANIFEST, features=MfccSpec(block_frames=8))
    with pytest.raises(ArtifactError, match=r"blocks of 1280 samples at 16000 Hz, the model on 2560 at 16000 Hz"):
        Pipeline(Happy(), other, speech_gate=Ear())


def test_the_level_is_the_blocks():
    (observed,) = Room().hear(0.0, level_dbfs=-42.0)
    assert observed.level_dbfs == pytest.approx(-42.0, abs=0.05)
    assert math.isclose(observed.at_s, BLOCK_S)


def test_a_room_is_known_by_the_utterances_that_were_speech_for_certain():
    room = Room(path=UTTERANCE, certain_ms=240, certain_probability=0.98)
    assert room.pipeline.room_utterances == 0
    room.still(10)
    for speech, blocks, heard in ((0.98, 3, 1), (0.98, 2, 1), (0.97, 20, 1), (1.0, 10, 2)):
        room.hear(speech, blocks)
        before = room.pipeline.room_utterances
        room.still(10)
        assert room.pipeline.room_utterances == heard
        assert before <= heard
    assert room.hear(1.0, 20)[-1].speaking
    assert room.pipeline.room_utterances == 2  # not before it is over


def test_an_utterance_that_is_cut_off_is_none_of_the_rooms_and_the_room_stays_known():
    """The microphone went, or was switched off: the next utterance is heard as if nothing had been said."""
    cut, whole = Room(path=UTTERANCE), Room(path=UTTERANCE)
    for room in (cut, whole):
        room.still(10)
        room.hear(1.0, 10)
        room.still(10)
        assert room.pipeline.room_utterances == 1
    cut.hear(1.0, 7)
    cut.pipeline.interrupt(cut.now_s)
    cut.pipeline.interrupt(cut.now_s)
    assert cut.pipeline.room_utterances == 1
    whole.still(7)
    whole.pipeline.interrupt(whole.now_s)
    for ours, theirs in zip(cut.hear(1.0, 9), whole.hear(1.0, 9), strict=True):
        np.testing.assert_array_equal(ours.probs, theirs.probs)


def test_a_model_that_hears_utterances_answers_at_the_onset_and_every_320_ms():
    room = Room(path=UTTERANCE)
    room.still(10)
    room.hear(0.0, 3)
    answered = [observed.probs is not None for observed in room.hear(1.0, 13)]
    assert answered == [number % 4 == 0 for number in range(13)]
    assert all(observed.scores is not None for observed in room.hear(1.0, 5))


def test_a_new_pipeline_begins_in_a_room_of_which_nothing_is_known():
    room = Room(path=UTTERANCE)
    room.hear(1.0, 10)
    room.still(10)
    other = Pipeline(room.model, read_artifact(UTTERANCE).manifest, speech_gate=Ear())
    assert other.room_utterances == 0


def test_a_model_that_hears_frames_knows_nothing_of_rooms():
    assert Room().pipeline.room_utterances is None
    assert Room(path=STEP).pipeline.room_utterances is None
