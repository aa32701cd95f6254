"""Any file under any name: heard to its real end as ffmpeg and soundfile hear it, or refused in one line."""

import io
import os
import shutil
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge.errors import InputError
from edge.sound.decoding import FULL_SCALES
from edge.sound.recording import load_recording, read_recording, read_stream
from tests.support.patience import PATIENCE_S
from tests.support.sounds import ROOT, chirp, to_int16
from tests.support.system import require_program

RATE_HZ = 16_000
SOUND = chirp(seconds=3.3)


def heard(path: str | Path) -> np.ndarray:
    return np.concatenate(list(read_recording(path)))


def written(container: str, subtype: str | None = None, *, sound: np.ndarray = SOUND, rate_hz: int = RATE_HZ) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, sound, rate_hz, format=container, subtype=subtype)
    return file.getvalue()


def by_ffmpeg(folder: Path, *arguments: str, suffix: str, piped: bool = False, sound: np.ndarray = SOUND) -> Path:
    """Return a sound as ffmpeg writes it, into a file or into a pipe, in which it cannot go back to the header."""
    ffmpeg = require_program("ffmpeg", "ffmpeg")
    soundfile.write(folder / "given.wav", sound, RATE_HZ)
    made = folder / f"made{suffix}"
    command = [ffmpeg, "-nostdin", "-v", "error", "-y", "-i", str(folder / "given.wav"), *arguments]
    if piped:
        made.write_bytes(subprocess.run([*command, "-"], check=True, capture_output=True).stdout)
    else:
        subprocess.run([*command, str(made)], check=True)
    return made


def ffmpeg_samples(path: Path) -> int:
    """Return how many samples at 16 kHz ffmpeg finds in a file."""
    ffmpeg = require_program("ffmpeg", "ffmpeg")
    command = [ffmpeg, "-nostdin", "-v", "quiet", "-i", str(path), "-ar", str(RATE_HZ), "-ac", "1", "-f", "s16le", "-"]
    return len(subprocess.run(command, check=True, capture_output=True).stdout) // 2


@pytest.mark.parametrize("name", ["sound.raw", "sound.mp3", "sound", "sound.vox", "x.gsm", "caf\udce9.wav", "$a$.wav"])
@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG"])
def test_content_decides_and_no_name_does(tmp_path, name, container):
    path = tmp_path / name
    Path(os.fsdecode(path)).write_bytes(written(container))
    assert len(heard(path)) == len(SOUND)


@pytest.mark.parametrize("name", ["sound.raw", "sound.wav", "sound.gsm", "sound.vox", "sound.mp3", "sound.sds"])
def test_samples_without_a_header_are_refused_in_a_line(tmp_path, name):
    for content in (to_int16(SOUND).tobytes(), b"\xff\xfb" + to_int16(SOUND).tobytes(), bytes(64_000), b"\xff" * 5_000):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{name}: not a readable sound file"):
            heard(tmp_path / name)


@pytest.mark.parametrize(
    ("arguments", "suffix", "piped"),
    [
        (("-c:a", "libmp3lame", "-q:a", "5", "-write_xing", "0"), ".mp3", False),
        (("-c:a", "libmp3lame", "-b:a", "32k", "-write_xing", "0"), ".mp3", False),
        (("-c:a", "libmp3lame", "-q:a", "5"), ".mp3", False),
        (("-f", "mp3"), ".mp3", True),
        (("-f", "flac"), ".flac", True),
        (("-f", "wav"), ".wav", True),
        (("-rf64", "always", "-f", "wav"), ".wav", True),
        (("-f", "au"), ".au", True),
        (("-c:a", "libvorbis", "-f", "ogg"), ".ogg", True),
        (("-c:a", "gsm_ms", "-ar", "8000"), ".wav", False),
        (("-c:a", "adpcm_ima_wav"), ".wav", False),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_lengths_that_a_header_does_not_know_or_estimates_are_those_of_ffmpeg(tmp_path, arguments, suffix, piped):
    path = by_ffmpeg(tmp_path, *arguments, suffix=suffix, piped=piped)
    # ffmpeg hears nothing in the RF64 that it wrote into a pipe; a codec's last frame is heard whole, or cut.
    assert len(heard(path)) == pytest.approx(ffmpeg_samples(path) or len(SOUND), abs=700)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("suffix", [".mp3", ".flac", ".ogg", ".wav"])
def test_of_a_file_that_was_cut_off_what_is_left_is_heard_and_nothing_twice(tmp_path, suffix, share):
    path = by_ffmpeg(tmp_path, suffix=suffix, sound=chirp(seconds=9.0))
    whole, content = heard(path), path.read_bytes()
    path.write_bytes(content[: round(share * len(content))])
    left = heard(path)
    assert len(left) <= ffmpeg_samples(path) + 1_200  # ffmpeg drops a frame that is not whole
    assert len(left) > (share - 0.35) * len(whole)
    np.testing.assert_allclose(left, whole[: len(left)], atol=0.02)


@pytest.mark.parametrize("arguments", [("-q:a", "5"), ("-b:a", "64k"), ("-q:a", "5", "-write_xing", "0")], ids=str)
def test_recordings_joined_end_to_end_are_all_heard(tmp_path, arguments):
    path = by_ffmpeg(tmp_path, "-c:a", "libmp3lame", *arguments, suffix=".mp3", sound=chirp(seconds=9.0))
    alone = len(heard(path))
    path.write_bytes(3 * path.read_bytes())
    assert len(heard(path)) == pytest.approx(3 * alone, abs=0.4 * RATE_HZ)  # joints are padded


@pytest.mark.parametrize("length", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000])
@pytest.mark.parametrize("riff", [0, 0xFFFFFFFF, 36])
def test_a_wav_whose_recorder_never_wrote_the_length_is_heard_to_its_end(tmp_path, length, riff):
    content = bytearray(written("WAV", "PCM_16"))
    content[4:8], content[40:44] = struct.pack("<I", riff), struct.pack("<I", length)
    (tmp_path / "killed.wav").write_bytes(content)
    np.testing.assert_allclose(heard(tmp_path / "killed.wav"), SOUND, atol=1 / 32_768)


@pytest.mark.parametrize(
    "more", [b"", b"LIST\x04\x00\x00\x00INFO", b"LIST\x05\x00\x00\x00INFOx\x00id3 \x02\x00\x00\x00ab"]
)
def test_a_wav_that_is_truly_empty_is_empty_whatever_chunks_follow(tmp_path, more):
    content = written("WAV", "PCM_16", sound=np.zeros(0))[:44] + more
    (tmp_path / "empty.wav").write_bytes(content)
    with pytest.raises(InputError, match=r"empty\.wav: the recording is empty$"):
        heard(tmp_path / "empty.wav")


def test_a_header_that_says_nothing_though_much_follows_is_told_so(tmp_path):
    content = bytearray(written("AIFF", "PCM_16"))
    at = content.index(b"COMM")
    content[at + 10 : at + 14] = bytes(4)  # frames
    at = content.index(b"SSND")
    content[at + 4 : at + 8] = struct.pack(">I", 8)
    (tmp_path / "killed.aiff").write_bytes(content)
    with pytest.raises(InputError, match=r"the recording is empty \(its header says so, the file has 105,"):
        heard(tmp_path / "killed.aiff")


def poured(content: bytes, into: int | str, *, at_once: int = 3_001) -> threading.Thread:
    def pour() -> None:
        with open(into, "wb", buffering=0) as pipe:
            try:
                for start in range(0, len(content), at_once):
                    pipe.write(content[start : start + at_once])
            except BrokenPipeError:
                pass

    thread = threading.Thread(target=pour, daemon=True)
    thread.start()
    return thread


PIPED = [
    ("WAV", None), ("RF64", None), ("FLAC", None), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None), ("AIFF", None),
    ("AU", None), ("W64", None), ("CAF", "ALAC_16"), ("WAV", "GSM610"), ("WAV", "MS_ADPCM"), ("VOC", None),
]  # fmt: skip


@pytest.mark.parametrize(("container", "subtype"), PIPED)
def test_a_pipe_is_heard_as_the_file_is(tmp_path, container, subtype):
    content = written(container, subtype, sound=chirp(seconds=9.0))
    (tmp_path / "file").write_bytes(content)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = poured(content, str(fifo))
    piped = heard(fifo)
    writer.join()
    np.testing.assert_array_equal(piped, heard(tmp_path / "file"))
    out, into = os.pipe()
    writer = poured(content, into)
    with open(out, "rb", buffering=0) as stream:
        np.testing.assert_array_equal(np.concatenate(list(read_stream(stream))), piped)
    writer.join()


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_pipe_is_heard_as_it_comes(container):
    """The first seconds of sound arrive while the pipe is still open and half of the sound is not yet written."""
    content = written(container, sound=np.random.default_rng(0).normal(0, 0.1, RATE_HZ * 20))
    out, into = os.pipe()
    half, go_on = len(content) // 2, threading.Event()

    def write() -> None:
        with open(into, "wb", buffering=0) as pipe:
            pipe.write(content[:half])
            go_on.wait(PATIENCE_S)
            pipe.write(content[half:])

    threading.Thread(target=write, daemon=True).start()
    with open(out, "rb", buffering=0) as stream:
        chunks = read_stream(stream)
        early = 0
        while early < 4 * RATE_HZ:
            early += len(next(chunks))
        go_on.set()
        assert early + sum(map(len, chunks)) == pytest.approx(20 * RATE_HZ, abs=2_500)


def test_what_comes_without_a_header_is_pcm_even_where_it_begins_like_something_else():
    for head in (b"\xff\xfb\x90\x64", b"\xff\xf1\x50\x80", b"\x0b\x77\x00\x00", b"\x00\x00\x00\x00", b"RIFF", b"ID3 "):
        content = head + to_int16(SOUND).tobytes()
        out, into = os.pipe()
        writer = poured(content, into)
        with open(out, "rb", buffering=0) as stream:
            samples = np.concatenate(list(read_stream(stream)))
        writer.join()
        assert to_int16(samples).tobytes() == content


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e29, -3e4, 300.0], ids=str)
@pytest.mark.parametrize("at", [0, 96, 40_000])
@pytest.mark.parametrize(
    ("container", "subtype"), [("WAV", "FLOAT"), ("WAV", "DOUBLE"), ("AIFF", "FLOAT"), ("CAF", "FLOAT")]
)
def test_what_no_microphone_gives_is_named_and_not_passed_on(tmp_path, value, at, container, subtype):
    sound = SOUND.astype(np.float64)
    sound[at] = value
    (tmp_path / "x.wav").write_bytes(written(container, subtype, sound=sound))
    passed = []
    with pytest.raises(
        InputError, match=rf"x\.wav: a sample is (not finite|far beyond full scale).*{at / RATE_HZ:.3f} s"
    ):
        passed += read_recording(tmp_path / "x.wav")
    assert all(np.abs(chunk).max() < FULL_SCALES for chunk in passed)


def test_a_float_file_with_samples_of_integers_is_refused_and_a_loud_one_is_heard(tmp_path):
    (tmp_path / "x.wav").write_bytes(written("WAV", "FLOAT", sound=SOUND * 32_768))
    with pytest.raises(InputError, match="far beyond full scale"):
        heard(tmp_path / "x.wav")
    (tmp_path / "x.wav").write_bytes(written("WAV", "FLOAT", sound=SOUND * 20))
    np.testing.assert_array_equal(heard(tmp_path / "x.wav"), SOUND * np.float32(20))


@pytest.mark.parametrize("rate_hz", [1, 7, 3_999, 768_001, 2**31 - 1])
def test_a_rate_that_no_recorder_has_is_refused(tmp_path, rate_hz):
    content = bytearray(written("WAV", "PCM_16"))
    content[24:28] = struct.pack("<I", rate_hz)
    (tmp_path / "x.wav").write_bytes(content)
    with pytest.raises(InputError, match=f"a rate that no recorder has \\({rate_hz:,} Hz"):
        heard(tmp_path / "x.wav")


def test_more_channels_than_any_recorder_has_are_refused(tmp_path):
    (tmp_path / "x.wav").write_bytes(written("WAV", "PCM_16", sound=np.zeros((100, 500))))
    with pytest.raises(InputError, match=r"more channels than any recorder has \(500\)"):
        heard(tmp_path / "x.wav")


def test_memory_does_not_grow_with_the_length_of_a_recording_nor_with_what_a_header_claims(tmp_path):
    """Two hours of 16 channels at 48 kHz, most of it a hole in the file; in a process of its own."""
    content = bytearray(written("W64", "PCM_16", sound=np.zeros((48, 16)), rate_hz=48_000))
    with open(tmp_path / "long.w64", "wb") as file:
        file.write(content)
        file.truncate(600_000_000)
    script = (
        "import sys\nfrom edge.sound.recording import read_recording\nfrom tests.support.memory import peak_mb\n"
        "before = peak_mb()\n"
        "for number, chunk in enumerate(read_recording(sys.argv[1])):\n    if number > 300: break\n"
        "print(peak_mb() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "long.w64"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 60


def test_what_is_kept_whole_has_a_longest_length(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.sound.recording.LONGEST_S", 60.0)
    (tmp_path / "long.flac").write_bytes(written("FLAC", sound=np.zeros(RATE_HZ * 61)))
    with pytest.raises(InputError, match=r"long\.flac: longer than 1 minutes: cut it"):
        load_recording(tmp_path / "long.flac")


@pytest.mark.parametrize(
    ("arguments", "suffix", "what"),
    [((), ".m4a", "MPEG-4"), (("-c:a", "libopus"), ".webm", "WebM"), ((), ".wma", "WMA"), ((), ".aac", "AAC"),
     (("-c:a", "libvorbis"), ".mkv", "Matroska"), ((), ".ac3", "AC-3"), ((), ".wv", "WavPack")],
)  # fmt: skip
@pytest.mark.parametrize("renamed", [None, "clip.wav"])
def test_what_cannot_be_read_here_is_told_what_helps_and_it_does(tmp_path, arguments, suffix, what, renamed):
    path = by_ffmpeg(tmp_path, *arguments, suffix=suffix)
    if renamed:
        path = path.rename(tmp_path / renamed)
    with pytest.raises(InputError, match=f"not a readable sound file, but .*{what}.*`ffmpeg -i") as refused:
        heard(path)
    advice = str(refused.value).split("`")[1]
    subprocess.run([*advice.split(), "-nostdin", "-v", "error"], check=True, cwd=tmp_path)
    assert len(heard(tmp_path / f"{path.stem}.flac")) == pytest.approx(len(SOUND), abs=2_000)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X", "but what macOS keeps beside one"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "but a pointer of Git LFS"),
        (b"<!DOCTYPE html><html><title>404</title>", "but a page of the web"),
        (b"PK\x03\x04" + bytes(60), "but a zip archive"),
    ],
)
def test_what_is_no_sound_at_all_is_called_what_it_is(tmp_path, content, says):
    (tmp_path / "x.wav").write_bytes(content)
    with pytest.raises(InputError, match=f"x.wav: not a readable sound file, {says}"):
        heard(tmp_path / "x.wav")


@pytest.mark.parametrize("path", ["/dev/null", "/dev/zero", "\0", "x" * 5_000, "/proc/self/mem", "."])
def test_what_is_no_file_is_refused_in_a_line(path):
    with pytest.raises(InputError) as refused:
        heard(path)
    assert "\n" not in str(refused.value)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_nothing_stays_open_whether_a_sound_is_heard_refused_or_left_in_the_middle(tmp_path):
    def abandoned(path: Path) -> None:
        next(read_recording(path))

    def refused(path: Path) -> None:
        with pytest.raises(InputError):
            heard(path)

    (tmp_path / "good").write_bytes(written("MP3"))
    (tmp_path / "bad").write_bytes(written("FLAC")[:30])
    before = descriptors()
    ways: list[tuple[Callable[[Path], object], str]] = [(heard, "good"), (abandoned, "good"), (refused, "bad")]
    for listen, name in ways:
        listen(tmp_path / name)
        assert descriptors() == before


def test_libraries_are_not_heard_on_the_terminal(tmp_path):
    """libmpg123 warns on standard error, libsndfile's reader of MIDI sample dumps prints on standard output."""
    path = by_ffmpeg(tmp_path, "-c:a", "libmp3lame", suffix=".mp3")
    shutil.copyfile(path, tmp_path / "cut.mp3")
    os.truncate(tmp_path / "cut.mp3", path.stat().st_size // 2)
    dump = bytearray(written("SDS"))
    dump[400:420] = b"\x11" * 20
    (tmp_path / "bad.sds").write_bytes(dump)
    script = (
        "import sys\nfrom edge.sound.recording import read_recording\nfrom edge.errors import InputError\n"
        "for path in sys.argv[1:]:\n    try: list(read_recording(path))\n    except InputError: pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, path, tmp_path / "cut.mp3", tmp_path / "bad.sds"], cwd=ROOT, capture_output=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
