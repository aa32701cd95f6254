"""Damaged, cut, mislabelled and renamed files of every format that libsndfile writes: heard, or refused in one line."""

import itertools
import json
import os
import random
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge.sound.decoding import FULL_SCALES
from tests.support.sounds import ROOT, chirp
from tests.support.system import require_program

QUICK, MANY = 200, 2_000
MOST_MB = 300
SECONDS = 1.7
_RATES_HZ = {"WVE": 8_000, "XI": 44_100, "OPUS": 48_000}  # that know no other
_STRANGE_TO_FFMPEG = ("MAT4", "MAT5", "NMS_ADPCM")  # in which it hears minutes of noise
_UNWRITABLE = {"RAW", "SD2"}  # without a header; in two files
NAMES = (
    "clip.wav",
    "clip.flac",
    "clip.raw",
    "clip.mp3",
    "clip",
    "clip.vox",
    "clip.sd2",
    "caf\udce9.ogg",
    "a b'c\n.aiff",
)


def formats() -> list[tuple[str, str]]:
    """Return every container with every subtype that soundfile can write into it."""
    return [
        (container, subtype)
        for container in soundfile.available_formats()
        if container not in _UNWRITABLE
        for subtype in soundfile.available_subtypes(container)
        if soundfile.check_format(container, subtype)
    ]


def whole(folder: Path) -> list[tuple[Path, float]]:
    """Write one file of each format and return it with its duration in seconds; skip what the encoder refuses."""
    made = []
    for number, (container, subtype) in enumerate(formats()):
        rate_hz = _RATES_HZ.get(container) or _RATES_HZ.get(subtype) or (16_000, 22_050, 44_100, 48_000)[number % 4]
        channels = 1 + number % 2
        sound = np.stack([chirp(seconds=SECONDS, rate_hz=rate_hz)] * channels, axis=1)
        path = folder / f"{container}-{subtype}"
        for shape in (sound, sound[:, :1]):
            try:
                soundfile.write(path, shape, rate_hz, format=container, subtype=subtype)
            except soundfile.LibsndfileError:
                path.unlink(missing_ok=True)
            else:
                made.append((path, len(sound) / rate_hz))
                break
    return made


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Return a file as disks, transfers and people leave them."""
    size = len(content)
    kind = chance.randrange(7)
    if kind == 0:
        return content[: chance.randrange(size)]
    spoiled = bytearray(content)
    if kind in (1, 2):  # the header, where lengths, rates and channels stand; or anywhere
        for _ in range(chance.randrange(1, 9)):
            spoiled[chance.randrange(min(size, 128) if kind == 1 else size)] = chance.randrange(256)
    elif kind == 3:  # a number of 32 bits of the extreme kind
        at = chance.randrange(min(size, 128) - 4)
        spoiled[at : at + 4] = chance.choice((bytes(4), b"\xff" * 4, b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80"))
    elif kind == 4:  # a hole
        at = chance.randrange(size)
        spoiled[at : at + chance.randrange(4_096)] = bytes(min(size - at, 4_096))
    elif kind == 5:  # something missing in the middle
        at = chance.randrange(size)
        del spoiled[at : at + chance.randrange(1, 2_000)]
    else:
        spoiled += chance.randbytes(chance.randrange(1, 5_000))
    return bytes(spoiled)


LISTEN = """
import json, sys
from edge.errors import InputError
from edge.sound import recording
from tests.support.memory import peak_mb
for line in sys.stdin:
    path = json.loads(line)
    seconds, error, worst = 0.0, None, 0.0
    try:
        for chunk in recording.read_recording(path):
            seconds += len(chunk) / 16_000
            worst = max(worst, float(abs(chunk).max(initial=0.0)))
    except InputError as told:
        error = str(told)
    print(json.dumps({"seconds": seconds, "error": error, "worst": worst, "peak_mb": peak_mb()}), flush=True)
"""


def listen(paths: list[Path]) -> list[dict]:
    """Return what comes of each file, all in one process that prints nothing of its own."""
    asked = "".join(json.dumps(str(path)) + "\n" for path in paths)
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", LISTEN],
        input=asked, cwd=ROOT, capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30)),
    )  # fmt: skip
    assert done.returncode == 0, (paths[len(done.stdout.splitlines())], done.stderr[-2_000:])
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


def fuzz(folder: Path, count: int) -> list[dict]:
    chance = random.Random(count)
    originals = [(path.read_bytes(), seconds, path.name) for path, seconds in whole(folder)]
    paths, longest_s = [], []
    for number, (content, seconds, name) in zip(range(count), itertools.cycle(originals), strict=False):
        place = folder / f"{number}"
        place.mkdir()
        path = place / NAMES[number % len(NAMES)]
        Path(os.fsdecode(path)).write_bytes(damaged(content, chance))
        paths.append(path)
        longest_s.append((seconds, path.stat().st_size, name))
    told = listen(paths)
    assert len(told) == count
    for path, one, (seconds, size, name) in zip(paths, told, longest_s, strict=True):
        assert one["error"] is None or "\n" not in one["error"], (path, one)
        assert np.isfinite(one["worst"]), (path, name, one)
        assert one["worst"] <= FULL_SCALES, (path, name, one)
        assert one["peak_mb"] < MOST_MB, (path, name, one)
        # Damage may say another rate or sample size, but nothing holds more sound than its bytes can: Opus and
        # Vorbis at 6 kbit/s, others at a bit a sample at least; and no more than the original, slowed to 4 kHz.
        assert one["seconds"] <= max(seconds * 13, size * 8 / 4_000), (path, name, one)
    return told


def test_two_hundred_damaged_files_are_heard_or_refused(tmp_path):
    told = fuzz(tmp_path, QUICK)
    assert any(one["error"] for one in told)
    assert any(one["error"] is None and one["seconds"] for one in told)


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_two_thousand_damaged_files_are_heard_or_refused(tmp_path, record_property):
    told = fuzz(tmp_path, MANY)
    refused = [re.sub(r".*?: |[(:].*", "", one["error"], count=1) for one in told if one["error"]]
    record_property("refused", len(refused))
    record_property("peak_mb", max(one["peak_mb"] for one in told))
    print(f"{len(told) - len(refused)} heard, {len(refused)} refused, {max(one['peak_mb'] for one in told):.0f} MB")


def test_what_is_whole_is_heard_whole_in_every_format(tmp_path):
    made = whole(tmp_path)
    assert len(made) > 100
    for (path, seconds), one in zip(made, listen([path for path, _ in made]), strict=True):
        assert one["error"] is None, (path, one)
        assert one["seconds"] == pytest.approx(seconds, abs=0.12), path


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_what_is_whole_is_as_long_as_ffmpeg_says(tmp_path):
    """ffmpeg does not know all of libsndfile's formats; of those it knows, none may differ."""
    ffmpeg = require_program("ffmpeg", "ffmpeg")
    made = whole(tmp_path)
    compared = 0
    for (path, _), one in zip(made, listen([path for path, _ in made]), strict=True):
        command = [ffmpeg, "-nostdin", "-v", "quiet", "-i", path, "-ar", "16000", "-ac", "1", "-f", "s16le", "-"]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode or not done.stdout or any(name in path.name for name in _STRANGE_TO_FFMPEG):
            continue
        compared += 1
        assert one["seconds"] == pytest.approx(len(done.stdout) / 32_000, abs=0.12), path
    assert compared > 100
