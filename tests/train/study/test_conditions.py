"""Strangers where hearing is harder: what is done to their sound, and what a room's past is then worth."""

import io

import numpy as np
import pytest
import soundfile

from edge.features.baseline import Prior
from edge.sound.recording import load_recording
from tests.support.lab import SPEC
from tests.support.tiny_corpus import write_corpus
from tests.train.rooms.voices import CORPUS, clips_of, functionals_of
from train.augmentation.rooms import rms
from train.config import TrainConfig
from train.data.features import Cache
from train.data.index import scan
from train.rooms.utterances import Utterances, utterances
from train.study import conditions, robustness

NOISES = {"hiss": np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conditions")
    return scan([write_corpus(folder, words=("back",), seconds=1.5)], TrainConfig(cache=str(folder / "cache"))).clips


def test_a_condition_is_what_its_name_says(clips):
    clip, clean = clips[0], load_recording(clips[0].path)

    def heard(condition: str) -> np.ndarray:
        return conditions._heard(clip, clean, condition, NOISES)

    noise = heard("10 dB") - clean
    assert 20 * np.log10(rms(clean) / rms(noise)) == pytest.approx(10, abs=0.1)
    power = np.abs(np.fft.rfft(heard("4 kHz"))) ** 2
    assert power[len(power) // 2 :].sum() < 1e-6 * power.sum()
    assert len(heard("Opus 16 kbit/s")) == len(clean)
    assert 0.5 < np.corrcoef(heard("Opus 16 kbit/s"), clean)[0, 1] < 1
    first, second = (heard(name) for name in conditions.MICROPHONES)
    assert not np.allclose(first, second)
    np.testing.assert_array_equal(first, heard(conditions.MICROPHONES[0]))


def test_opus_has_the_rate_of_its_name():
    noise = np.random.default_rng(0).normal(0, 0.05, 160_000)  # as hard to code as sound can be
    box = io.BytesIO()
    form = {"format": "OGG", "subtype": "OPUS", "compression_level": conditions._OPUS_LEVEL}
    soundfile.write(box, noise, 16_000, **form)
    assert len(box.getvalue()) * 8 / 10 == pytest.approx(16_000, rel=0.15)


def test_clean_ones_are_the_utterances_themselves_and_all_are_kept(clips, tmp_path):
    cache = Cache(tmp_path)
    under = conditions.heard_under(clips[:3], NOISES, SPEC, cache)
    _, heard, _ = utterances(clips[:3], SPEC, cache, 1, lambda *_: None)
    those = np.arange(3)
    np.testing.assert_array_equal(under.whole(those), heard.whole(those))
    others = {"hum": np.sin(np.arange(32_000) / 20).astype(np.float32)}
    again = conditions.heard_under(clips[:3], others, SPEC, cache)
    same = [
        np.array_equal(again.whole(those, place), under.whole(those, place), equal_nan=True)
        for place in range(under.places)
    ]
    assert same == [name != "10 dB" for name in (*conditions.CONDITIONS, *conditions.MICROPHONES)]


def test_a_few_clips_of_a_few_voices_always_the_same():
    many = clips_of(CORPUS, voices=12, labels=("neutral", "sad"), each=40)
    few = conditions.some(many)
    assert few == conditions.some(many)
    assert len({clip.speaker for clip in few}) == 10
    assert len(few) == 450
    assert len(conditions.some(clips_of(CORPUS, voices=2, labels=("neutral", "sad"), each=40))) == 160


def test_a_microphone_that_shifts_everything_is_forgotten_after_some_utterances():
    """A label moves one number by 1; another microphone always moves the first: nothing, against its own."""
    labels = ("angry", "neutral", "sad")
    voices = clips_of(CORPUS, voices=4, labels=labels, each=20)
    own = functionals_of(voices, apart=2.0)
    shifts = [*(0.0 for _ in conditions.CONDITIONS), *(2.5 + number for number in range(len(conditions.MICROPHONES)))]
    shift = np.eye(1, own.shape[1])[0]
    heard = Utterances([[row[None] + by * shift for row in own] for by in shifts])
    prior = Prior(mean=[0.0] * 6, within=[0.5] * 6, between=[2.0] * 6, horizon_utterances=30.0)
    truth = np.array([labels.index(clip.label) for clip in voices])

    def uar(given: np.ndarray, asked: np.ndarray) -> float:
        return float((given[:, :3].argmax(axis=1) == truth[asked]).mean())

    found = conditions.worth(uar, voices, heard, prior)
    assert set(found["conditions"]) == {*conditions.CONDITIONS}
    assert found["conditions"][robustness.CLEAN] == found["conditions"]["4 kHz"] > 0.7
    moved = list(found["moved"].values())
    assert moved[0] < 0.6
    assert moved[-1] > moved[0] + 0.1
