"""Functionals of clips, along their utterances and at places, are what the sensor's own model would have."""

import numpy as np
import pytest
import soundfile

from edge.features.functionals import Functionals
from edge.features.voice import voice_frames
from edge.model.utterance import ANSWER_BLOCKS
from edge.sound.recording import load_recording
from tests.support.lab import SPEC
from tests.support.tiny_corpus import write_corpus
from train.augmentation.places import Place
from train.augmentation.rooms import rms
from train.config import TrainConfig
from train.data.features import Cache
from train.data.index import scan
from train.rooms.utterances import utterances


def silent(*_):
    pass


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("utterances")
    config = TrainConfig(cache=str(folder / "cache"))
    return folder, scan([write_corpus(folder, words=("back",), seconds=1.5)], config).clips


def test_the_last_row_is_that_of_the_whole_clip(corpus, tmp_path):
    _, clips = corpus
    kept, heard, unusable = utterances(clips, SPEC, Cache(tmp_path), 1, silent)
    assert (kept, unusable) == (clips, [])
    functionals = Functionals(SPEC)
    functionals.process(voice_frames(load_recording(clips[0].path), SPEC))
    np.testing.assert_allclose(heard.whole(np.array([0]))[0], functionals.values(), rtol=1e-4, atol=1e-4)


def test_the_first_row_is_that_of_the_sensors_first_answers(corpus, tmp_path):
    _, clips = corpus
    _, heard, _ = utterances(clips[:1], SPEC, Cache(tmp_path), 1, silent)
    functionals = Functionals(SPEC)
    functionals.process(voice_frames(load_recording(clips[0].path), SPEC)[: ANSWER_BLOCKS * SPEC.block_frames])
    cuts = heard.cut(np.zeros(200, int), 0, np.random.default_rng(0))
    assert any(np.allclose(cut, functionals.values(), rtol=1e-4, atol=1e-4, equal_nan=True) for cut in cuts)


def test_silence_around_an_utterance_is_none_of_it(corpus, tmp_path):
    _, clips = corpus
    sound = load_recording(clips[0].path)
    padded = np.concatenate([np.zeros(40_000, np.float32), sound, np.zeros(40_000, np.float32)])
    soundfile.write(tmp_path / "OAF_back_angry.wav", padded + 1e-5 * np.sin(np.arange(len(padded))), 16_000)
    found = scan([tmp_path], TrainConfig(cache=str(tmp_path / "cache"))).clips
    _, heard, _ = utterances([clips[0], *found], SPEC, Cache(tmp_path), 1, silent)
    one, other = heard.whole(np.array([0, 1]))
    assert np.nanmean(np.abs(one - other) / (np.abs(one) + 1)) < 0.1


def test_what_cannot_be_read_is_left_out_and_said(corpus, tmp_path):
    _, clips = corpus
    gone = clips[0].__class__(path=str(tmp_path / "gone.wav"), corpus="TESS", speaker="OAF", label="angry")
    kept, heard, unusable = utterances([gone, clips[1]], SPEC, Cache(tmp_path), 2, silent)
    assert kept == [clips[1]]
    assert len(heard.whole(np.array([0]), 1)) == 1
    assert "gone.wav" in str(unusable[0])


@pytest.mark.parametrize("name", [f"here voice {number}" for number in range(12)])
def test_a_place_is_always_the_same_and_keeps_length_and_level(name):
    sound = load_recording("edge/commands/demo.flac")[:32_000]
    heard = Place(name).heard(sound)
    np.testing.assert_array_equal(heard, Place(name).heard(sound))
    assert heard.dtype == np.float32
    assert len(heard) == len(sound)
    assert np.isfinite(heard).all()
    assert 0.2 < rms(heard) / rms(sound) < 5


def test_places_differ():
    sound = load_recording("edge/commands/demo.flac")[:32_000]
    heard = [Place(f"here voice {number}").heard(sound) for number in range(12)]
    assert sum(not np.allclose(one, sound, atol=1e-4) for one in heard) >= 9
    assert not np.allclose(heard[0], heard[1], atol=1e-3)
