"""What is there only in part is heard and told, what is joined is heard, and what is no sound is called what it is."""

import os
import struct
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge.commands.demo import RECORDING
from edge.errors import InputError
from edge.sound.kinds import foreign, kind_of
from edge.sound.recording import read_recording, read_stream
from tests.sound.test_recording import RATE_HZ, by_ffmpeg, ffmpeg_samples, heard, poured, written
from tests.support.sounds import chirp, to_int16

LONG = chirp(seconds=6.0)
KINDS = [
    ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "IMA_ADPCM"), ("WAVEX", "FLOAT"), ("RF64", None), ("W64", None),
    ("AIFF", None), ("AU", None), ("CAF", None), ("FLAC", None), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None),
]  # fmt: skip
STREAMED = [kind for kind in KINDS if kind[0] not in ("CAF", "W64") and kind[1] != "IMA_ADPCM"]


def told(path: Path) -> tuple[float, list[str]]:
    """Return how many seconds of a file are heard, and what is said of it."""
    said: list[str] = []
    return sum(map(len, read_recording(path, said.append))) / RATE_HZ, said


def told_of_a_pipe(content: bytes) -> tuple[float, list[str]]:
    said: list[str] = []
    out, into = os.pipe()
    writer = poured(content, into)
    with open(out, "rb", buffering=0) as stream:
        seconds = sum(map(len, read_stream(stream, tell=said.append))) / RATE_HZ
    writer.join()
    return seconds, said


@pytest.mark.parametrize(("container", "subtype"), KINDS)
def test_of_what_is_whole_nothing_is_said(tmp_path, container, subtype):
    content = written(container, subtype, sound=LONG)
    (tmp_path / "x").write_bytes(content)
    for seconds, said in (told(tmp_path / "x"), told_of_a_pipe(content)):
        assert seconds == pytest.approx(6.0, abs=0.1)
        assert said == []


@pytest.mark.parametrize("share", [0.4, 0.9])
@pytest.mark.parametrize(("container", "subtype"), KINDS)
def test_what_was_cut_short_is_heard_and_told(tmp_path, container, subtype, share):
    content = written(container, subtype, sound=LONG)
    (tmp_path / "x").write_bytes(content[: round(share * len(content))])
    seconds, (line,) = told(tmp_path / "x")
    assert 6.0 * share - 2.5 < seconds < 6.0 * share + 0.5
    assert line.startswith(f"{tmp_path / 'x'}: cut short ({seconds:.2f} s")


@pytest.mark.parametrize("short_by", [1, 2, 200])
def test_a_few_bytes_that_lack_are_told_too(tmp_path, short_by):
    content = written("WAV", "PCM_16", sound=LONG)
    (tmp_path / "x").write_bytes(content[:-short_by])
    assert "cut short" in told(tmp_path / "x")[1][0]
    assert "cut short" in told_of_a_pipe(content[:-short_by])[1][0]


@pytest.mark.parametrize(("container", "subtype"), STREAMED)
def test_in_a_pipe_too(container, subtype):
    content = written(container, subtype, sound=LONG)
    seconds, (line,) = told_of_a_pipe(content[: len(content) * 6 // 10])
    assert 1.0 < seconds < 4.0
    assert line.startswith("standard input: cut short (")


@pytest.mark.parametrize(("container", "subtype"), KINDS)
def test_joined_recordings_are_all_heard(tmp_path, container, subtype):
    content = written(container, subtype, sound=LONG)
    (tmp_path / "x").write_bytes(content)
    alone = heard(tmp_path / "x")
    (tmp_path / "x").write_bytes(3 * content)
    together = heard(tmp_path / "x")
    assert len(together) == pytest.approx(3 * len(alone), abs=0.4 * RATE_HZ)  # joints may be padded
    if container != "MP3":  # whose decoder goes on without beginning anew
        np.testing.assert_array_equal(together, np.tile(alone, 3))


@pytest.mark.parametrize(("first", "second"), [("WAV", "FLAC"), ("AIFF", "WAV"), ("AU", "OGG"), ("CAF", "WAV")])
def test_joined_recordings_of_two_kinds_and_rates_are_heard(tmp_path, first, second):
    (tmp_path / "x").write_bytes(
        written(first, sound=LONG) + written(second, sound=chirp(seconds=2.0, rate_hz=44_100), rate_hz=44_100)
    )
    assert told(tmp_path / "x") == (pytest.approx(8.0, abs=0.01), [])


@pytest.mark.parametrize(("container", "subtype"), STREAMED)
def test_of_joined_recordings_in_a_pipe_the_first_is_heard_and_the_others_told(container, subtype):
    seconds, (line,) = told_of_a_pipe(2 * written(container, subtype, sound=LONG))
    assert seconds == pytest.approx(6.0, abs=0.1)
    assert line == "standard input: what follows its end is not heard (joined recordings are, from a file)"


@pytest.mark.parametrize("subtype", ["PCM_16", "ULAW"])
@pytest.mark.parametrize("container", ["WAV", "AIFF", "AU", "CAF", "W64"])
def test_what_no_header_counts_is_told(tmp_path, container, subtype):
    (tmp_path / "x").write_bytes(written(container, subtype, sound=LONG) + bytes(range(1, 101)) * 90)
    assert told(tmp_path / "x") == (
        6.0, [f"{tmp_path / 'x'}: what follows the sound that its header counts is not heard (9,000 bytes)"]
    )  # fmt: skip


@pytest.mark.parametrize("suffix", [".ogg", ".opus"])
@pytest.mark.parametrize("harm", ["altered", "missing"])
def test_a_damaged_ogg_is_heard_as_far_as_it_goes_and_told(tmp_path, suffix, harm):
    path = by_ffmpeg(tmp_path, suffix=suffix, sound=chirp(seconds=12.0))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 100] = b"" if harm == "missing" else bytes(100)
    path.write_bytes(content)
    seconds, (line,) = told(path)
    assert line == f"{path}: damaged, parts of it are missing"
    assert seconds < ffmpeg_samples(path) / RATE_HZ + 0.2


@pytest.mark.parametrize("bits", [0, 1, 7, 9, 24, 32, 33, 64, 65_535])
@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64", "W64"])
def test_widths_that_no_recorder_writes_are_refused_by_name(tmp_path, container, bits):
    content = bytearray(written(container, "PCM_16"))
    at = content.index(b"fmt ") + (24 if container == "W64" else 8) + 14
    content[at : at + 2] = struct.pack("<H", bits)
    (tmp_path / "x.wav").write_bytes(content)
    with pytest.raises(InputError, match=rf"names samples that no recorder writes \({bits} bits in 2 bytes for 1 chan"):
        heard(tmp_path / "x.wav")


@pytest.mark.parametrize("bits", [1, 8, 24, 32])
def test_and_in_an_aiff(tmp_path, bits):
    content = bytearray(written("AIFF", "PCM_16"))
    at = content.index(b"COMM") + 14
    content[at : at + 2] = struct.pack(">H", bits)
    (tmp_path / "x.aiff").write_bytes(content)
    with pytest.raises(InputError, match=f"no recorder writes .* of {bits} bits in "):
        heard(tmp_path / "x.aiff")


NO_SOUND = {
    "text": ("Guten Morgen, \u4f60\u597d!\n" * 200).encode(), "a word": b"hello\n", "JSON": b'{"a": [1, 2, 3]}',
    "PNG": b"\x89PNG\r\n\x1a\n" + bytes(9_000), "JPEG": b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(9_000),
    "PDF": b"%PDF-1.7\n%\xe2\xe3" + bytes(9_000), "zip": b"PK\x03\x04" + bytes(9_000), "GIF": b"GIF89a" + bytes(99),
    "gzip": b"\x1f\x8b\x08\x00" + bytes(9_000), "ELF": b"\x7fELF\x02\x01" + bytes(9_000),
    "MP4": b"\x00\x00\x00\x20ftypisom" + bytes(9_000), "MKV": b"\x1a\x45\xdf\xa3" + bytes(9_000),
    "TS": (b"G\x40\x11\x10" + bytes(184)) * 50, "AVI": b"RIFF\x00\x10\x00\x00AVI " + bytes(9_000),
}  # fmt: skip


@pytest.mark.parametrize("what", NO_SOUND)
def test_what_is_clearly_something_else_is_not_heard_as_samples(tmp_path, what):
    with pytest.raises(InputError, match="standard input: not a readable sound file, but") as refused:
        told_of_a_pipe(NO_SOUND[what])
    helps = ("`roomtone run --input -` takes", "`ffmpeg -i pipe:0 -f wav -` makes one")
    assert any(words in str(refused.value) for words in helps)
    (tmp_path / "x.wav").write_bytes(NO_SOUND[what])
    with pytest.raises(InputError, match=r"x\.wav: not a readable sound file, but "):
        heard(tmp_path / "x.wav")


def test_samples_are_never_taken_for_something_else():
    """The demo from 3,000 places, silence, faint dither, noise of any level, and constants, in both alignments."""
    speech = to_int16(soundfile.read(RECORDING, dtype="float32")[0])
    chance = np.random.default_rng(0)
    pieces = [speech[start : start + 750] for start in range(0, len(speech) - 750, len(speech) // 3_000)]
    pieces += [np.zeros(750, np.int16)]
    pieces += [chance.integers(-1, 2, 750).astype(np.int16) for _ in range(2_000)]
    pieces += [to_int16(chance.normal(0, 10 ** chance.uniform(-4, 0), 750).astype(np.float32)) for _ in range(2_000)]
    pieces += [np.full(750, value, np.int16) for value in range(-32_768, 32_768, 37)]
    for piece in pieces:
        for head in (piece.tobytes(), piece.tobytes()[1:]):
            assert kind_of(head) is None
            assert foreign(head, sure=True) is None


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("quiet_s", [0.0, 2.0, 20.0])
def test_of_a_float_file_of_another_scale_nothing_is_passed_on(tmp_path, subtype, quiet_s):
    quiet = np.random.default_rng(0).normal(0, 5.0, round(quiet_s * RATE_HZ))
    sound = np.concatenate([quiet, LONG * 32_767])
    soundfile.write(tmp_path / "x.wav", sound, RATE_HZ, subtype=subtype)
    passed = []
    with pytest.raises(InputError, match=r"x\.wav: a sample is far beyond full scale"):
        passed += read_recording(tmp_path / "x.wav")
    assert passed == []


def test_and_in_a_pipe_whole_numbers_tell_it_at_once():
    quiet = np.rint(np.random.default_rng(0).normal(0, 2.0, 5 * RATE_HZ))
    with pytest.raises(InputError, match=r"a whole number, as are all before it.* at 0.0"):
        told_of_a_pipe(written("WAV", "FLOAT", sound=np.concatenate([quiet, np.rint(LONG * 32_767)])))


def test_a_pipe_without_a_writer_is_told_once_and_can_be_left(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    said: list[str] = []
    asked = threading.Event()

    def stopping() -> bool:
        return asked.is_set()

    def tell(line: str) -> None:
        said.append(line)
        asked.set()

    assert list(read_recording(tmp_path / "fifo", tell, stopping)) == []
    assert said == [f"{tmp_path / 'fifo'}: waiting for something to write into this pipe"]


@pytest.mark.parametrize("length", [1 << 40, (1 << 63) - 1, (1 << 64) - 8])
def test_a_chunk_longer_than_any_file_is_no_fault_of_ours(tmp_path, length):
    """A container with lengths of 64 bits, of which one is damaged: heard in part or refused in a line."""
    content = bytearray(written("W64", None, sound=LONG))
    place = content.index(b"fmt \xf3\xac\xd3\x11")  # the first chunk's name, then its length
    content[place + 16 : place + 24] = struct.pack("<Q", length)
    (tmp_path / "x.w64").write_bytes(content)
    seconds = 0.0
    with suppress(InputError):
        seconds, _ = told(tmp_path / "x.w64")
    assert seconds <= 6.0
