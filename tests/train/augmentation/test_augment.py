"""Augmentation and degradation: each change is what its name says, and the same whenever it is asked for."""

import hashlib
import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import scipy.fft
import soundfile

from edge.errors import ConfigError, InputError
from edge.features.mfcc import MfccSpec, mfcc
from edge.features.normalize import Normalizer
from edge.section import load_section
from edge.sound.recording import load_recording
from tests.support.sounds import chirp
from train.augmentation import rooms
from train.augmentation.augment import Variants, drawn, masked, noise_files, shifted, sounds_in
from train.config import Augmentation, TrainConfig
from train.data.clip import Clip, reasons
from train.data.features import Cache
from train.data.index import scan
from train.data.windows import normalization_of, speech_bounds, windows_of
from train.fitting.prepare import balanced
from train.study import robustness

SPEC = MfccSpec()


@pytest.fixture
def clip(tmp_path) -> Clip:
    folder = tmp_path / "sad"
    folder.mkdir()
    silence = 1e-4 * np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    soundfile.write(folder / "a.wav", np.concatenate([silence, chirp(seconds=1.5), silence]), 16_000)
    return scan([folder.parent / "sad"], TrainConfig()).clips[0]


@pytest.fixture
def noise(tmp_path):
    folder = tmp_path / "noise"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("1-rain.wav", "5-sea.wav"):
        soundfile.write(folder / name, 0.1 * rng.standard_normal(40_000).astype(np.float32), 16_000)
    return folder


def test_silence_around_speech_is_cut_as_the_sensor_cuts_it(clip):
    frames = mfcc(load_recording(clip.path), SPEC)
    first, last = speech_bounds(frames, SPEC)
    assert first == pytest.approx(50 - 12, abs=8)  # speech from 1.0 s on, 240 ms before it
    assert last == pytest.approx(125 + 28, abs=12)  # to 2.5 s, 560 ms after it


def test_variants_are_the_same_whenever_asked(clip, noise, tmp_path):
    settings = Augmentation(noise=str(noise), noise_share=1.0)
    first = Variants(settings, SPEC, Cache(tmp_path / "one"), trim=True)
    second = Variants(settings, SPEC, Cache(tmp_path / "two"), trim=True)
    one, two = first.frames(clip, 1), first.frames(clip, 2)
    assert np.array_equal(second.frames(clip, 2), two)
    assert np.array_equal(second.frames(clip, 1), one)
    assert one.shape != two.shape or not np.array_equal(one, two)


def test_speed_changes_length_by_as_much(clip, tmp_path):
    settings = Augmentation(speed=(1.25, 1.25), noise_share=0.0)
    made = Variants(settings, SPEC, Cache(tmp_path / "cache"), trim=False).frames(clip, 1)
    assert len(made) == pytest.approx(len(mfcc(load_recording(clip.path), SPEC)) / 1.25, abs=1)


def test_the_last_fold_of_noise_is_never_trained_with(noise, tmp_path):
    assert [path.name for path in noise_files(str(noise), tmp_path)] == ["1-rain.wav"]
    with pytest.raises(InputError, match="nowhere: no such folder of noise"):
        noise_files(str(noise / "nowhere"), tmp_path)
    (noise / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: no noise recordings in it$"):
        noise_files(str(noise / "empty"), tmp_path)


def test_noise_that_cannot_be_heard_is_left_out_by_name(noise, clip, tmp_path):
    (noise / "1-bad.wav").write_text("no sound")
    soundfile.write(noise / "2-empty.wav", np.zeros(0, np.float32), 16_000)
    (noise / "3-phone.m4a").write_bytes(b"x")
    for litter in ("._1-rain.wav", "__MACOSX/1-rain.wav"):
        (noise / litter).parent.mkdir(exist_ok=True)
        (noise / litter).write_bytes(b"\0\5\26\7")
    assert [path.name for path in noise_files(str(noise), tmp_path)] == ["1-rain.wav"]
    lines = reasons(sounds_in(str(noise), str(tmp_path)).left_out)
    assert [Path(line.split(": ")[1]).name for line in lines] == ["3-phone.m4a", "1-bad.wav", "2-empty.wav"]
    settings = Augmentation(noise=str(noise), noise_share=1.0)
    assert len(Variants(settings, SPEC, Cache(tmp_path / "cache"), trim=True).frames(clip, 1))


def test_noise_is_decoded_once_by_all_processes(noise, tmp_path):
    """What is kept says that a file can be read, though it was changed since: by its content, it is another one."""
    sounds_in.cache_clear()
    assert len(sounds_in(str(noise), str(tmp_path)).files) == 2
    table = sqlite3.connect(tmp_path / "recordings.sqlite")
    assert table.execute("SELECT count(*) FROM heard").fetchone() == (2,)
    digest = hashlib.sha256(b"no sound").hexdigest()
    with table:
        table.execute("UPDATE heard SET sha256 = ? WHERE rowid = 1", [digest])
    (noise / "1-kept.wav").write_bytes(b"no sound")
    sounds_in.cache_clear()
    assert noise / "1-kept.wav" in sounds_in(str(noise), str(tmp_path)).files


def test_of_noise_of_which_nothing_can_be_heard_the_reason_is_said(tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "1-bad.wav").write_text("no sound")
    with pytest.raises(InputError, match=r"bad: no noise recordings in it: .*1-bad\.wav: not a readable sound file"):
        noise_files(str(tmp_path / "bad"), tmp_path)


def test_gain_of_features_is_gain_of_sound():
    """The front end on the louder sound is the reference."""
    sound = chirp(seconds=1.0)
    settings = Augmentation(gain_db=(6.0, 6.0), crop=(1.0, 1.0), tempo=(1.0, 1.0))
    louder = drawn([mfcc(sound, SPEC)], settings, SPEC, np.random.default_rng(0))
    assert np.allclose(louder, mfcc(sound * 10 ** (6 / 20), SPEC), atol=1e-2)


def test_a_crop_is_a_stretch_of_the_clip():
    frames = np.arange(100, dtype=np.float32)[:, None].repeat(40, axis=1)
    settings = Augmentation(gain_db=(0.0, 0.0), crop=(0.5, 1.0), tempo=(1.0, 1.0))
    for seed in range(20):
        found = drawn([frames], settings, SPEC, np.random.default_rng(seed))[:, 1]
        assert 50 <= len(found) <= 100
        assert np.array_equal(np.diff(found), np.ones(len(found) - 1))


def test_tempo_changes_how_long_it_takes_and_nothing_else():
    """numpy's own interpolation is the reference."""
    frames = np.random.default_rng(0).normal(size=(101, 40)).astype(np.float32)
    settings = {"gain_db": (0.0, 0.0), "crop": (1.0, 1.0)}
    slower = drawn([frames], Augmentation(tempo=(0.5, 0.5), **settings), SPEC, np.random.default_rng(0))
    assert slower.shape == (202, 40)
    places = np.linspace(0, 100, 202)
    expected = np.stack([np.interp(places, np.arange(101), column) for column in frames.T], axis=1)
    assert np.allclose(slower, expected, atol=1e-5)
    lengths = {
        len(drawn([frames], Augmentation(tempo=(0.75, 1.25), **settings), SPEC, np.random.default_rng(seed)))
        for seed in range(50)
    }
    assert 80 <= min(lengths) < 90
    assert 120 < max(lengths) <= 135
    assert len(drawn([frames[:1]], Augmentation(tempo=(4.0, 4.0), **settings), SPEC, np.random.default_rng(0))) == 1


def test_masks_are_within_their_widths():
    windows = masked(np.ones((50, 100, 40), np.float32), Augmentation(), np.random.default_rng(0))
    rows, columns = (windows == 0).all(axis=2).sum(axis=1), (windows == 0).all(axis=1).sum(axis=1)
    assert rows.max() <= 12
    assert columns.max() <= 6
    assert rows.max() > 6
    assert columns.max() > 3


def test_a_band_shift_moves_the_spectrum_of_some_up_or_down():
    std = np.linspace(1.0, 9.0, 40)
    bands = np.zeros((400, 10, 40))
    bands[:, :, 20] = 1.0
    coefficients = scipy.fft.dct(bands, type=2, norm="ortho", axis=2) / std
    settings = Augmentation(band_shift=2, band_shift_share=0.4)
    found = shifted(coefficients.astype(np.float32), std, settings, np.random.default_rng(0))
    peaks = scipy.fft.idct(found * std, type=2, norm="ortho", axis=2)
    where, counts = np.unique(peaks[:, 0].argmax(axis=1), return_counts=True)
    assert where.tolist() == [18, 19, 20, 21, 22]
    assert counts / 400 == pytest.approx([0.1, 0.1, 0.6, 0.1, 0.1], abs=0.05)
    assert peaks.max(axis=2) == pytest.approx(1.0, abs=1e-4)
    for none in (Augmentation(band_shift=0, band_shift_share=1.0), Augmentation(band_shift=2, band_shift_share=0.0)):
        assert np.array_equal(shifted(coefficients, std, none, np.random.default_rng(0)), coefficients)


def test_balanced_means_corpora_alike_and_labels_alike_within_each():
    cells = {("A", "sad"): 6, ("A", "happy"): 2, ("B", "sad"): 1, ("B", "happy"): 1, ("B", "angry"): 3}
    clips = [
        Clip(path="", corpus=corpus, speaker="", label=label)
        for (corpus, label), count in cells.items() for _ in range(count)
    ]  # fmt: skip
    shares = dict.fromkeys(cells, 0.0)
    for clip, share in zip(clips, balanced(clips), strict=True):
        shares[clip.corpus, clip.label] += share
    assert shares == pytest.approx({cell: 1 / 4 if cell[0] == "A" else 1 / 6 for cell in cells})


@pytest.mark.parametrize("kind", ["global", "running"])
def test_windows_are_the_sensor_s(kind):
    """One utterance at a time through edge's Normalizer is the reference; the window is its end, zeros in front."""
    rng = np.random.default_rng(0)
    utterances = [rng.normal(size=(length, 40)).astype(np.float32) * 9 - 20 for length in (30, 100, 170)]
    settings = normalization_of(utterances, kind, SPEC)
    together = np.concatenate(utterances)
    assert np.allclose(settings.mean, together.mean(axis=0), atol=1e-4)
    assert np.allclose(settings.std, together.std(axis=0), atol=1e-4)
    for frames, window in zip(utterances, windows_of(utterances, settings, 100), strict=True):
        alone = Normalizer(settings).process(frames)[-100:]
        assert np.allclose(window[100 - len(alone) :], alone, atol=1e-6)
        assert not window[: 100 - len(alone)].any()


@pytest.mark.parametrize("snr_db", [20.0, 0.0])
def test_noise_is_as_loud_as_it_says(noise, snr_db, tmp_path):
    noises = robustness.noise_recordings(noise, tmp_path)
    assert list(noises) == ["5-sea.wav"]
    sound = chirp(seconds=1.0)
    added = robustness.noisy(sound, noises, snr_db, seed="a") - sound
    assert 10 * np.log10(np.mean(sound**2) / np.mean(added**2)) == pytest.approx(snr_db, abs=0.1)


@pytest.mark.parametrize("name", rooms.ROOMS)
def test_rooms_ring_as_long_as_they_say(name):
    """pyroomacoustics' own measurement of the decay is the reference."""
    from pyroomacoustics.experimental import measure_rt60

    size_m, rt60_s, distance_m = rooms.ROOMS[name]
    response = rooms.impulse_response(size_m, rt60_s, distance_m)
    assert measure_rt60(response, fs=16_000, decay_db=30) == pytest.approx(rt60_s, rel=0.45)
    sound = chirp(seconds=1.0)
    wet = rooms.reverberant(sound, response)
    assert wet.shape == sound.shape
    assert np.std(wet) == pytest.approx(np.std(sound), rel=1e-3)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"tempo": [1.25, 0.75]}, "expected tempo from low to high, not 1.25 to 0.75"),
        ({"crop": [1.0, 0.6]}, "expected crop from low to high"),
        ({"speed": [0.0001, 1.0]}, "expected speed between 0.25 and 4"),
        ({"tempo": [0.75, 1e9]}, "expected tempo between 0.25 and 4"),
    ],
)
def test_a_range_that_is_none_is_refused(setting, message, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({"train": {"augmentation": setting}}))  # JSON is YAML
    with pytest.raises(ConfigError, match=message):
        load_section(str(path), "train", TrainConfig)
