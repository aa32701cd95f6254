"""Recordings of what is not speech: which are kept for judging, and how they are drawn."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge.errors import InputError
from train.augmentation.sounds import Sounds, judging


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("ESC-10/rain/5-181766-A-10.ogg", True),
        ("ESC-10/rain/3-157149-A-10.ogg", False),
        ("ESC-50/laughing/3-105235-A-26.opus", True),
        ("ESC-50/laughing/1-1791-A-26.opus", False),
    ],
)
def test_folds_that_judge_are_those_of_the_collection_a_class_is_of(name, kept):
    assert judging(Path(name)) is kept


def test_a_person_or_piece_judges_whole_or_not_at_all():
    people = [{judging(Path(f"{person}_{kind}_1.opus")) for kind in range(5)} for person in range(400)]
    assert all(len(sides) == 1 for sides in people)
    assert 0.1 < np.mean([sides == {True} for sides in people]) < 0.3


def test_collections_are_drawn_by_the_root_of_their_classes_and_silence_never(tmp_path):
    levels = {}
    for collection, classes in (("small", 1), ("large", 4)):
        for number in range(classes):
            path = tmp_path / collection / f"class{number}" / "a.wav"
            path.parent.mkdir(parents=True)
            levels[path] = 0.1 if collection == "small" else 0.5
            soundfile.write(path, levels[path] * np.resize([1, -1], 1_600), 16_000)
    silent = tmp_path / "large" / "class0" / "silent.wav"
    soundfile.write(silent, np.zeros(1_600), 16_000)
    sounds, rng = Sounds([*levels, silent]), np.random.default_rng(0)
    loud = [np.abs(sounds.any(rng)).max() for _ in range(400)]
    assert min(loud) > 0.05
    assert np.mean(np.array(loud) > 0.3) == pytest.approx(2 / 3, abs=0.07)
    assert not Sounds([])
    with pytest.raises(InputError, match="more than silence"):
        Sounds([silent]).any(rng)


def test_a_varied_recording_is_one_of_many_things_and_always_sound(tmp_path):
    """Few recordings, drawn often: faster, slower, over each other, and some as they are."""
    for name, hz in (("a", 300), ("b", 700)):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "x.wav", 0.3 * np.sin(2 * np.pi * hz * np.arange(16_000) / 16_000), 16_000)
    sounds, rng = Sounds(sorted(tmp_path.glob("*/x.wav"))), np.random.default_rng(0)
    drawn = [sounds.varied(rng) for _ in range(200)]
    assert all(sound.dtype == np.float32 and np.isfinite(sound).all() and np.abs(sound).max() > 0.1 for sound in drawn)
    lengths = np.array([len(sound) for sound in drawn])
    assert 0.3 < np.mean(lengths == 16_000) < 0.5
    assert lengths.min() > 16_000 * 2**-0.81
    assert lengths.max() < 16_000 * 2**0.81
    louder = [np.abs(sound).max() > 0.5 for sound in drawn]  # with another one under it, its louder fifth at full scale
    assert 0.15 < np.mean(louder) < 0.35
