"""Sound files decoded by libsndfile, block by block to their real end: no header is believed, and no name.

libsndfile's own count of frames is an estimate for some formats and a lie in damaged files, and looking for a place in
a file fails where nobody can look (a pipe, GSM 6.10): so everything is read forward until nothing more comes.
"""

import os
import shlex
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import numpy as np
import soundfile

from edge.chatter import unheard
from edge.errors import InputError
from edge.sound.kinds import (
    HEAD_BYTES,
    MP3,
    STREAMED,
    TELLING_BYTES,
    foreign,
    kind_of,
    last_ogg_page,
    mended_wav,
    outgrown_mp3,
)
from edge.sound.tape import Passing, Stored, Tape

RATES_HZ = (4_000, 768_000)  # no recorder is outside
MOST_CHANNELS = 128
FULL_SCALES = 32.0  # 30 dB over full scale: no float file that means well, but every one with samples of an integer
_READ_S, _READ_PASSING_S = 1.0, 0.08
_READ_SAMPLES = 1 << 18  # of all channels: a megabyte
_SPOOLED_BYTES = 1 << 26
_CHATTY = {MP3, "SDS"}


class Decoding:
    """A sound being decoded. rate_hz, channels: as recorded. name: for messages."""

    def __init__(
        self, name: str, sound: soundfile.SoundFile, kind: str | None, source: Stored | Passing, tape: Tape | None
    ) -> None:
        self.name, self.rate_hz, self.channels = name, sound.samplerate, sound.channels
        self._sound, self._source, self._tape = sound, source, tape
        self._hush = (lambda: unheard(output=True)) if kind in _CHATTY else nullcontext
        frames = round(self.rate_hz * (_READ_PASSING_S if isinstance(source, Passing) else _READ_S))
        self._at_once = max(1, min(frames, _READ_SAMPLES // self.channels))

    def chunks(self) -> Iterator[np.ndarray]:
        """Yield float32 (frames, channels), full scale 1.0, to the end.

        Raises InputError where the file is damaged, holds nothing, or holds what cannot be sound; OSError where it
        cannot be read any further.
        """
        frames = 0
        while len(chunk := self._next(frames)):
            self._require_sense(chunk, frames)
            frames += len(chunk)
            yield chunk
        if self._tape and self._tape.failed:
            raise self._tape.failed
        if not frames:
            size = self._source.size
            contrary = f" (its header says so, the file has {size:,} bytes)" if self._source.holds_more else ""
            raise InputError(f"{self.name}: the recording is empty{contrary}")

    def _next(self, before: int) -> np.ndarray:
        """Return the next frames, none at the end; of a file that was cut off, those before the cut."""
        chunk = np.full((self._at_once, self.channels), np.nan, np.float32)
        try:
            with self._hush():
                return self._sound.read(out=chunk)
        except soundfile.LibsndfileError as error:
            if not self._source.exhausted:
                after_s = before / self.rate_hz
                raise InputError(f"{self.name}: damaged (after {after_s:.1f} s: {_why(error)})") from error
            decoded = np.flatnonzero(~np.isnan(chunk[:, 0]))
            return chunk[: decoded[-1] + 1 if len(decoded) else 0]

    def _require_sense(self, chunk: np.ndarray, before: int) -> None:
        """Raise InputError for samples that no microphone gives: one of them would spoil all that follow."""
        if np.abs(chunk).max() <= FULL_SCALES:  # False for NaN
            return
        wrong = ~(np.abs(chunk) <= FULL_SCALES)
        frame, channel = np.argwhere(wrong)[0]
        at_s, value = (before + int(frame)) / self.rate_hz, float(chunk[frame, channel])
        what = "far beyond full scale, which is 1" if np.isfinite(value) else "not finite"
        raise InputError(f"{self.name}: a sample is {what} ({value:g} at {at_s:.3f} s); write it anew, as 16 bits")


@contextmanager
def decoding(name: str, source: Stored | Passing) -> Iterator[Decoding]:
    """Open a sound for decoding. Raises InputError for what is no sound, or none that this can read."""
    stored = isinstance(source, Stored)
    head = source.at(0, HEAD_BYTES) if stored else source.await_head(TELLING_BYTES)
    kind = kind_of(head)
    if kind is None and (not stored or _foreign_or_mpeg(head)):
        raise _unreadable(name, head, "the format is not recognised", stored=stored)
    with ExitStack() as held:
        given = _given(name, source, kind, head, held)
        try:
            with unheard(output=True):
                sound = held.enter_context(_Forward(given, closefd=False))
        except soundfile.LibsndfileError as error:
            raise _unreadable(name, head, _why(error), stored=stored) from error
        if not stored:
            source.opening = False
        _require_plausible(name, sound)
        yield Decoding(name, sound, kind, source, given if isinstance(given, Tape) else None)


class _Forward(soundfile.SoundFile):
    """Read forward only: `read` would otherwise look for its place before and after each block."""

    def seekable(self) -> bool:
        return False


def _given(name: str, source: Stored | Passing, kind: str | None, head: bytes, held: ExitStack) -> int | Tape:
    """Return what libsndfile is to read from: a descriptor where it can, a tape where it must be told something."""
    if isinstance(source, Stored):
        if kind == MP3:
            # Else its length is computed from the bit rate of the first frame.
            return Tape(source, outgrown_mp3(source.at, source.size), endless=True)
        patches = mended_wav(head, source.at, source.size) if kind in ("WAV", "RF64") else {}
        return Tape(source, patches, endless=False) if patches else source.descriptor
    if kind in STREAMED:
        patches = mended_wav(head, source.at, source.size) if kind in ("WAV", "RF64") else {}
        return Tape(source, patches, endless=True, last=last_ogg_page(head) if kind == "Ogg" else b"")
    return _spooled(name, source, held)


def _spooled(name: str, source: Passing, held: ExitStack) -> int:
    """Return a descriptor of all that comes, in memory, for formats in which a decoder must go back and forth."""
    spool = os.memfd_create("roomtone-spool", os.MFD_CLOEXEC)
    held.callback(os.close, spool)
    source.opening = False
    place = 0
    while piece := source.at(place, HEAD_BYTES):
        os.pwrite(spool, piece, place)
        place += len(piece)
        if place > _SPOOLED_BYTES:
            raise InputError(f"{name}: too long for a pipe in this format: give it as a file, or as WAV or FLAC")
    return spool


def _require_plausible(name: str, sound: soundfile.SoundFile) -> None:
    low, high = RATES_HZ
    if not low <= sound.samplerate <= high:
        raise InputError(
            f"{name}: its header names a rate that no recorder has ({sound.samplerate:,} Hz, not {low:,} to {high:,})"
        )
    if sound.channels > MOST_CHANNELS:
        raise InputError(f"{name}: its header names more channels than any recorder has ({sound.channels:,})")


def _foreign_or_mpeg(head: bytes) -> bool:
    """Whether libsndfile is not even to be asked: it would hear MPEG audio in any bytes that begin like a frame."""
    return foreign(head) is not None or (head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xE0 == 0xE0)


def _unreadable(name: str, head: bytes, why: str, *, stored: bool) -> InputError:
    found = foreign(head)
    if found is None:
        return InputError(f"{name}: not a readable sound file ({why})")
    what, convertible = found
    if not convertible:
        return InputError(f"{name}: not a readable sound file, but {what}")
    file, made = (shlex.quote(name), shlex.quote(f"{Path(name).stem}.flac")) if stored else ("in", "out.flac")
    return InputError(f"{name}: not a readable sound file, but {what}; `ffmpeg -i {file} {made}` makes one of it")


def _why(error: soundfile.LibsndfileError) -> str:
    return error.error_string.strip().rstrip(".")
