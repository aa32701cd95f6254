"""What is measured of a recording, against numpy on the whole of it; and that it is measured once."""

import hashlib
import shutil
import sqlite3

import msgspec
import numpy as np
import pytest
import soundfile

from edge.errors import InputError, UnavailableError
from edge.sound.recording import load_recording
from tests.support.sounds import ROOT
from tests.train.data.test_folders import record
from train.data.measure import measure, measured


@pytest.mark.parametrize("seconds", [0.005, 0.03, 1.0, 2.503])
def test_figures_are_those_of_the_whole_recording(tmp_path, seconds):
    rng = np.random.default_rng(0)
    count = round(seconds * 16_000)
    sound = (rng.standard_normal(count) * np.linspace(0.01, 0.6, count)).clip(-1, 1).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", sound, 16_000, subtype="FLOAT")
    found = measure(str(tmp_path / "a.wav"))
    steady = load_recording(tmp_path / "a.wav")
    pieces = [steady[start : start + 320] for start in range(0, max(1, count - 319), 320)]
    loudest = max(float(np.mean(piece.astype(np.float64) ** 2)) for piece in pieces)
    assert found.loudest_dbfs == pytest.approx(10 * np.log10(loudest), abs=0.05)
    assert found.clipped_share == pytest.approx(np.mean(np.abs(sound) >= 0.999))
    assert found.sound_sha256 == hashlib.sha256(sound.tobytes()).hexdigest()
    assert (found.duration_s, found.rate_hz) == (round(count / 16_000, 3), 16_000)


@pytest.mark.parametrize("offset", [0.0, 0.02, 0.1, -0.3])
def test_an_offset_is_no_sound(tmp_path, offset):
    """A quiet room at any offset is as loud as without; nothing but an offset is silence."""
    room = np.random.default_rng(0).normal(0, 1e-4, 40_000)
    soundfile.write(tmp_path / "room.wav", room + offset, 16_000, subtype="FLOAT")
    soundfile.write(tmp_path / "none.wav", np.full(40_000, offset), 16_000, subtype="FLOAT")
    assert measure(str(tmp_path / "room.wav")).loudest_dbfs == pytest.approx(-79.2, abs=0.6)
    assert measure(str(tmp_path / "none.wav")).loudest_dbfs < -120


def test_what_is_there_only_in_part_is_remarked(tmp_path):
    path = record(tmp_path / "a.wav")
    assert measure(str(path)).remark == ""
    path.write_bytes(path.read_bytes()[:-2_000])
    assert measure(str(path)).remark == "cut short (0.14 s of 0.20 s are there)"


def test_a_recording_at_another_rate_is_as_long_as_the_sensor_hears_it(tmp_path):
    record(tmp_path / "a.wav")
    sound = np.random.default_rng(0).standard_normal((44_100, 2)) * 0.1
    soundfile.write(tmp_path / "b.flac", sound, 44_100)
    found = measure(str(tmp_path / "b.flac"))
    assert (found.duration_s, found.rate_hz) == (1.0, 44_100)
    assert len(load_recording(tmp_path / "b.flac")) == 16_000


def test_silence_of_either_sign_is_the_same(tmp_path):
    for name, zero in (("a", 0.0), ("b", -0.0)):
        soundfile.write(tmp_path / f"{name}.wav", np.full(1_600, zero, np.float32), 16_000, subtype="FLOAT")
    one, other = (measure(str(tmp_path / f"{name}.wav")) for name in "ab")
    assert one == other
    assert one.loudest_dbfs == -200.0


def test_a_file_is_decoded_once_whatever_it_is_called(tmp_path):
    first = record(tmp_path / "a.wav")
    ((digest, found),) = measured([str(first)], tmp_path / "cache")
    assert digest == hashlib.sha256(first.read_bytes()).hexdigest()
    table = sqlite3.connect(tmp_path / "cache" / "recordings.sqlite")
    with table:  # what is kept is changed, so that one sees where it comes from
        other = msgspec.structs.replace(found, duration_s=42.0)
        table.execute("UPDATE heard SET measures = ?", [msgspec.json.encode(other)])
    shutil.copy(first, tmp_path / "b.wav")
    record(tmp_path / "c.wav")
    again = list(measured([str(tmp_path / name) for name in ("b.wav", "c.wav")], tmp_path / "cache"))
    assert [one.duration_s for _, one in again] == [42.0, 0.2]
    with table:  # another version of the reader
        table.execute("UPDATE heard SET reader = 'of another time'")
    ((_, anew),) = measured([str(first)], tmp_path / "cache")
    assert anew == found


def test_what_cannot_be_read_is_in_its_place_among_the_others(tmp_path):
    (tmp_path / "b.wav").write_text("no sound")
    paths = [record(tmp_path / "a.wav"), tmp_path / "b.wav", tmp_path, record(tmp_path / "d.wav")]
    seen = []
    found = list(measured(list(map(str, paths)), tmp_path / "cache", lambda done, total, note: seen.append(done)))
    assert [isinstance(one, InputError) for one in found] == [False, True, True, False]
    assert seen == [1, 2, 3, 4]


def test_a_cache_that_is_none_is_one_line(tmp_path):
    (tmp_path / "recordings.sqlite").write_text("something else entirely, and long enough to be looked at" * 20)
    with pytest.raises(UnavailableError, match=r"recordings\.sqlite: the cache cannot be used \(file is not a d"):
        list(measured([str(record(tmp_path / "a.wav"))], tmp_path))
    with pytest.raises(UnavailableError, match="the cache cannot be used"):
        list(measured([], ROOT / "README.md" / "cache"))
