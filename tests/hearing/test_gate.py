"""The gates: levels against definitions, the noise floor against made rooms, speech against real recordings."""

import numpy as np
import pytest

from edge.errors import ArtifactError
from edge.features.mfcc import MfccExtractor, MfccSpec
from edge.hearing.gate import INITIAL_FLOOR_DBFS, LevelGate, NetworkGate, SpeechRule, load_speech_gate
from edge.sound.blocks import BLOCK_SAMPLES, reblock
from edge.sound.level import SILENCE_DBFS, clipped, level_dbfs
from edge.sound.recording import load_recording
from tests.bench.micro_vad import MicroVadGate
from tests.support.artifacts import MOMENTS, UTTERANCE
from tests.support.sounds import ROOT, chirp, corpus_clips

SECOND = 12  # blocks, and a little


def test_levels_follow_their_definition():
    t = np.arange(BLOCK_SAMPLES)
    sine = np.sin(2 * np.pi * t / 64).astype(np.float32)
    assert level_dbfs(sine) == pytest.approx(-3.01, abs=0.01)
    assert level_dbfs(sine / 100) == pytest.approx(-43.01, abs=0.01)
    assert level_dbfs(np.zeros(BLOCK_SAMPLES, np.float32)) == SILENCE_DBFS
    assert clipped(np.clip(4 * sine, -1, 1)) / len(sine) == pytest.approx(2 * np.arccos(0.25) / np.pi, abs=0.02)
    assert clipped(sine / 2) == 0


def gate() -> LevelGate:
    return LevelGate(margin_db=6, floor_window_s=20)


def test_a_recording_may_begin_with_speech():
    assert gate().process(-30.0)


def test_the_floor_follows_the_quietest_moment():
    made = gate()
    for _ in range(21 * SECOND):
        made.process(-70.0)
    assert made.floor_dbfs == -70.0
    assert not made.process(-65.0)
    assert made.process(-63.0)


def test_the_floor_is_believed_for_exactly_its_window():
    made, part = LevelGate(margin_db=6, floor_window_s=3), 12
    assert (made.floor_dbfs, made.above_floor_db) == (INITIAL_FLOOR_DBFS, 0.0)
    floors = []
    for level in [-50.0] * (4 * part) + [-70.0] + [-50.0] * (5 * part):
        made.process(level)
        floors.append(made.floor_dbfs)
    assert floors[: 3 * part] == [INITIAL_FLOOR_DBFS] * 3 * part
    assert floors[3 * part : 4 * part] == [-50.0] * part
    # One quiet block, the first of its second, counts for that second and the three after it.
    assert floors[4 * part : 8 * part] == [-70.0] * 4 * part
    assert floors[8 * part] == -50.0


def test_a_window_below_a_second_is_one_second():
    made = LevelGate(margin_db=6, floor_window_s=0.4)
    for _ in range(13):
        made.process(-50.0)
    assert made.floor_dbfs == -50.0


def test_what_stands_out_by_the_margin_alone_is_not_loud():
    made = LevelGate(margin_db=6, floor_window_s=20)
    assert not made.process(INITIAL_FLOOR_DBFS + 6)
    assert made.process(INITIAL_FLOOR_DBFS + 6.25)


class Says:
    """A model that says one thing."""

    def __init__(self, probs: np.ndarray | None) -> None:
        self._probs = probs

    def reset(self) -> None: ...

    def process(self, frames: np.ndarray) -> np.ndarray | None:
        assert frames.shape == (4, 40)
        return self._probs


@pytest.mark.parametrize("extractor", [None, MfccExtractor(MfccSpec())])
def test_the_gate_says_how_much_of_speech_it_is_and_nothing_before_it_can(extractor):
    samples, frames = np.zeros(BLOCK_SAMPLES, np.float32), np.zeros((4, 40), np.float32)
    for probs, told in ((np.array([0.25, 0.75], np.float32), 0.75), (None, 0.0)):
        gate = NetworkGate(Says(probs), extractor)
        gate.reset(np.zeros(MfccSpec().overlap_samples, np.float32))
        assert gate.process(samples, None if extractor else frames) == told


def test_speech_with_pauses_does_not_raise_the_floor_but_a_fan_does():
    made = gate()
    for _ in range(60):
        for _ in range(2 * SECOND):
            opened = made.process(-25.0)
        assert opened
        made.process(-55.0)
    for _ in range(22 * SECOND):
        opened = made.process(-25.0)
    assert not opened


def test_digital_silence_is_never_worth_a_look():
    made = gate()
    assert not any(made.process(SILENCE_DBFS) for _ in range(100))
    assert made.process(INITIAL_FLOOR_DBFS)


def probabilities(sound: np.ndarray) -> list[float]:
    """Return what the bundled speech gate says of each block of a sound that begins with it."""
    speech, extractor = load_speech_gate(MfccSpec()), MfccExtractor(MfccSpec())
    nothing = np.zeros(MfccSpec().overlap_samples, np.float32)
    extractor.reset(nothing)
    speech.reset(nothing)
    return [speech.process(block, extractor.process(block)) for block in reblock([sound])]


def test_clips_hold_speech_and_noise_holds_none():
    for path in corpus_clips(10):
        sound = load_recording(path)
        assert max(probabilities(sound / np.abs(sound).max() * 0.5)) > 0.5, path
    noise = np.random.default_rng(0).normal(0, 0.05, 10 * 16_000).astype(np.float32)
    assert max(probabilities(noise)) < 0.5


def test_the_bundled_gate_hears_the_bundled_recording_as_another_detector_does():
    sound = load_recording(ROOT / "edge" / "commands" / "demo.flac")
    ours = np.array(probabilities(sound)) > 0.5
    theirs = MicroVadGate()
    spoken = np.array([theirs.process(block, np.zeros(0)) for block in reblock([sound])]) > 0.5
    agreeing = np.mean([ours[index] in spoken[max(0, index - 2) : index + 8] for index in range(len(ours))])
    assert agreeing > 0.95  # the other one begins later, and lets go half a second after the voice


def test_a_gate_made_for_other_features_computes_its_own():
    sound = chirp(seconds=2)
    same, other = load_speech_gate(MfccSpec()), load_speech_gate(MfccSpec(mels=32, coefficients=13))
    extractor = MfccExtractor(MfccSpec())
    for each in (extractor, same, other):
        each.reset(np.zeros(MfccSpec().overlap_samples, np.float32))
    for block in reblock([sound]):
        no_frames = np.zeros((4, 13), np.float32)
        assert other.process(block, no_frames) == same.process(block, extractor.process(block))


def test_only_a_speech_artifact_is_a_speech_gate():
    with pytest.raises(ArtifactError, match=r"labels are angry, disgust, .* a speech gate has other, speech"):
        load_speech_gate(MfccSpec(), MOMENTS)
    with pytest.raises(ArtifactError, match="hears whole utterances, a speech gate is to say where they begin"):
        load_speech_gate(MfccSpec(), UTTERANCE)


def test_doubt_is_enough_where_the_level_is_sure_or_speech_is_under_way():
    def holds(probability, *, loud=True, above_floor_db=7.0, speaking=False) -> bool:
        rule = SpeechRule(sure=0.5, doubtful=0.3, strong_margin_db=10)
        return rule.holds(probability, loud=loud, above_floor_db=above_floor_db, speaking=speaking)

    assert holds(0.5)
    assert not holds(0.4)
    assert holds(0.4, above_floor_db=10)
    assert holds(0.4, speaking=True)
    assert not holds(0.2, above_floor_db=40, speaking=True)
    assert not holds(1.0, loud=False, speaking=True)
