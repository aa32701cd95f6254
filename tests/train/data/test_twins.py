"""The same sound twice counts once, whatever holds it, and never stands on two sides."""

import csv
import shutil
from collections import Counter

import numpy as np
import pytest
import soundfile

from tests.support.lab import write_config
from tests.support.sounds import CORPORA, corpus_clips
from tests.support.tiny_corpus import write_corpus
from tests.train.data.test_folders import record
from train.__main__ import main
from train.config import TrainConfig
from train.data import index
from train.data.split import SIDES
from train.study.protocols import splits


@pytest.fixture
def config(tmp_path) -> TrainConfig:
    return TrainConfig(cache=str(tmp_path / "cache"))


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path, words=("back", "dog", "mob", "pool"), seconds=0.2)


CONTAINERS = {
    "same": ("a.wav", "WAV", "PCM_16"),
    "flac": ("a.flac", "FLAC", "PCM_16"),
    "flac of 24 bits": ("a.flac", "FLAC", "PCM_24"),
    "aiff": ("a.aiff", "AIFF", "PCM_16"),
    "aiff called wav": ("b.wav", "AIFF", "PCM_32"),
    "w64": ("a.w64", "W64", "PCM_24"),
    "caf": ("a.caf", "CAF", "PCM_16"),
    "au": ("a.au", "AU", "PCM_16"),
    "float": ("a.wav", "WAV", "FLOAT"),
    "double": ("a.wav", "WAV", "DOUBLE"),
}


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("name", "container", "subtype"), CONTAINERS.values(), ids=CONTAINERS)
def test_in_another_container_it_is_the_same_sound(tmp_path, config, name, container, subtype, channels):
    first = record(tmp_path / "one" / "happy" / "anna" / "first.wav")
    # libsndfile writes integers into a float file as they are, and floats into others by a factor of 32,767.
    sound, rate_hz = soundfile.read(first, dtype="float64" if subtype in ("FLOAT", "DOUBLE") else "int16")
    other = tmp_path / "two" / "happy" / "bob" / name
    other.parent.mkdir(parents=True)
    soundfile.write(other, np.stack([sound] * channels, axis=1), rate_hz, format=container, subtype=subtype)
    nearly, _ = soundfile.read(first, dtype="int16")
    nearly[1_000] += 1
    soundfile.write(other.with_name("else.wav"), nearly, rate_hz)
    found = index.scan([tmp_path / "one", tmp_path / "two"], config)
    assert [clip.path for clip in found.clips] == [str(first), str(other.with_name("else.wav"))]
    assert found.twins == [[str(first), str(other)]]


def nested(corpus, folder):
    shutil.copytree(corpus, folder / "nested")
    shutil.copytree(corpus, folder / "nested" / "TESS")
    return [folder / "nested"]


def given_twice(corpus, folder):
    return [corpus, corpus]


def another_corpus(corpus, folder):
    """A copy as a table under another name, its files called otherwise, its speakers too."""
    rows = []
    for number, path in enumerate(sorted(corpus.rglob("*.wav"))):
        copy = folder / "copy" / f"{number}.wav"
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(path, copy)
        label = path.stem.split("_")[2]
        rows.append([f"copy/{copy.name}", "surprise" if label == "ps" else label, f"s{number % 5}", "other"])
    with open(folder / "other.csv", "w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "speaker", "corpus"), *rows])
    return [corpus, folder / "other.csv"]


def linked(corpus, folder):
    """Links under other names, in a folder per label."""
    for number, path in enumerate(sorted(corpus.rglob("*.wav"))):
        place = folder / "more" / ("surprise" if "_ps" in path.stem else path.stem.split("_")[2])
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.wav").symlink_to(path)
    return [folder / "more", corpus]


def converted(corpus, folder):
    for path in sorted(corpus.rglob("*.wav")):
        place = folder / "flac" / path.parent.name / f"{path.stem}.flac"
        place.parent.mkdir(parents=True, exist_ok=True)
        sound, rate_hz = soundfile.read(path, dtype="int16")
        soundfile.write(place, sound, rate_hz)
    return [folder / "flac", corpus]


@pytest.mark.parametrize("copied", [nested, given_twice, another_corpus, linked, converted])
def test_a_corpus_that_is_there_twice_is_there_once(tmp_path, corpus, config, copied):
    data = copied(corpus, tmp_path)
    found = index.scan(data, config)
    assert len(found.clips) == 56
    assert len({clip.sound_sha256 for clip in found.clips}) == 56
    assert {len(paths) for paths in found.twins} == {2}
    (said,) = [line for line in found.remarks(config) if "twice" in line]
    assert said.startswith("56 clips are there twice (first: ")
    for name in ("random", "speaker", "kfold", "word", "unheard"):
        for fold in splits(name, found.clips, config):
            sides = [{found.clips[index].sound_sha256 for index in fold.side(side)} for side in SIDES]
            assert not sides[0] & sides[2], fold.where
            assert not sides[1] & sides[2], fold.where
            assert not sides[0] & sides[1], fold.where


def test_the_command_line_trains_on_none_of_what_it_tests(tmp_path, corpus, capfd):
    (folder,) = nested(corpus, tmp_path)
    config = write_config(tmp_path)
    options = ["--network", "ann", "--epochs", "1", "--config", str(config), "--out", str(tmp_path / "runs")]
    assert main(["fit", *options, "--data", str(folder), "--name", "one"]) == 0
    assert "warning: 56 clips are there twice (first: " in capfd.readouterr().err
    with open(tmp_path / "runs" / "one" / "split.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 56
    for column in ("sha256", "sound_sha256"):
        assert max(Counter(row[column] for row in rows).values()) == 1


def test_a_sound_under_two_labels_teaches_neither(tmp_path, config):
    first = record(tmp_path / "mine" / "happy" / "anna" / "a.wav")
    record(tmp_path / "mine" / "sad" / "anna" / "c.wav")
    shutil.copy(first, tmp_path / "mine" / "sad" / "anna" / "b.wav")
    shutil.copy(first, tmp_path / "mine" / "happy" / "anna" / "d.wav")
    found = index.scan([tmp_path / "mine"], config)
    assert [clip.path[-5:] for clip in found.clips] == ["c.wav"]
    assert found.twins == []
    (line, *_) = found.remarks(config)
    assert line.startswith("left out: 3 files: the same sound stands under two labels (first: ")
    assert f"sad in {tmp_path}/mine/sad/anna/b.wav" in line


def test_of_twins_the_one_whose_speaker_is_known_counts(tmp_path, config):
    first = record(tmp_path / "flat" / "happy" / "a.wav")
    (tmp_path / "mine" / "happy" / "anna").mkdir(parents=True)
    shutil.copy(first, tmp_path / "mine" / "happy" / "anna" / "a.wav")
    (clip,) = index.scan([tmp_path / "flat", tmp_path / "mine"], config).clips
    assert (clip.corpus, clip.speaker) == ("mine", "anna")


def test_the_twins_of_ravdess_are_found(config):
    corpus_clips(1, folders=("RAVDESS",))
    found = index.scan([CORPORA / "RAVDESS" / "Actor_07"], config)
    (paths,) = found.twins
    assert [path.rpartition("/")[2].partition(".")[0] for path in paths] == [
        "03-01-03-01-02-01-07", "03-01-03-01-02-02-07"
    ]  # fmt: skip
    assert len(found.clips) == 59
