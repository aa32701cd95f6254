"""Sound files decoded by libsndfile, block by block to their real end: no header is believed, and no name.

libsndfile's own count of frames is an estimate for some formats and a lie in damaged files, and looking for a place in
a file fails where nobody can look (a pipe, GSM 6.10): so everything is read forward until nothing more comes.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext

import numpy as np
import soundfile

from edge.chatter import unheard
from edge.errors import InputError
from edge.sound.containers import NOWHERE, Layout, OggPages, laid_out, last_ogg_page
from edge.sound.kinds import HEAD_BYTES, MP3, STREAMED, TELLING_BYTES, foreign_or_mpeg, kind_of, outgrown_mp3, refused
from edge.sound.tape import Passing, Stored, Tape

RATES_HZ = (4_000, 768_000)  # no recorder is outside
MOST_CHANNELS = 128
FULL_SCALES = 32.0  # 30 dB over full scale: no float file that means well, but every one with samples of an integer
_READ_S, _READ_PASSING_S = 1.0, 0.08
_READ_SAMPLES = 1 << 18  # of all channels: a megabyte
_SPOOLED_BYTES = 1 << 26
_CHATTY = {MP3, "SDS"}
_FLOATS = {"FLOAT", "DOUBLE"}
_EXACT = {"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"}
_COUNTED = {"FLAC", MP3}  # whose frames are counted in their headers
_MOST_FRAMES = 1 << 40  # more are an estimate, from a length that is not known
_INEXACT_S = 0.2  # what encoders add and decoders take away at ends

Tell = Callable[[str], None]


def untold(remark: str) -> None:
    """Take a remark for which there is nobody."""


class Decoding:
    """A sound being decoded. rate_hz, channels: as recorded. following: what stands behind it in the same file.

    tell: is given, at the end, what of it was not heard.
    """

    def __init__(
        self, name: str, sound: soundfile.SoundFile, kind: str | None, source: Stored | Passing, tape: Tape | None,
        layout: Layout = NOWHERE, pages: OggPages | None = None, following: Stored | None = None, tell: Tell = untold,
    ) -> None:  # fmt: skip
        self._name, self.rate_hz, self.channels, self.following = name, sound.samplerate, sound.channels, following
        self._sound, self._source, self._tape = sound, source, tape
        self._kind, self._layout, self._pages, self._tell = kind, layout, pages, tell
        self._hush = (lambda: unheard(output=True)) if kind in _CHATTY else nullcontext
        self._passing = isinstance(source, Passing)
        frames = round(self.rate_hz * (_READ_PASSING_S if self._passing else _READ_S))
        self._at_once = max(1, min(frames, _READ_SAMPLES // self.channels))
        self._whole_numbers = sound.subtype in _FLOATS  # so far
        self._cut = self._beyond = False

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
            raise InputError(f"{self._name}: the recording is empty{contrary}")
        if remarks := "; ".join(self._remarks(frames)):
            self._tell(f"{self._name}: {remarks}")

    def _next(self, before: int) -> np.ndarray:
        """Return the next frames, none at the end; of a file that was cut off, those before the cut."""
        chunk = np.full((self._at_once, self.channels), np.nan, np.float32)
        try:
            with self._hush():
                return self._sound.read(out=chunk)
        except soundfile.LibsndfileError as error:
            self._beyond = self._kind in _COUNTED and before >= self._sound.frames
            if not self._source.exhausted and not self._beyond:
                after_s = before / self.rate_hz
                raise InputError(f"{self._name}: damaged (after {after_s:.1f} s: {_why(error)})") from error
            self._cut = not self._beyond
            decoded = np.flatnonzero(~np.isnan(chunk[:, 0]))
            return chunk[: decoded[-1] + 1 if len(decoded) else 0]

    def _remarks(self, frames: int) -> Iterator[str]:
        """Yield what is to be said of a sound of which so many frames were heard."""
        pages, layout, heard_s = self._pages, self._layout, frames / self.rate_hz
        if pages and pages.damaged:
            yield "damaged, parts of it are missing"
        told_s = 0.0
        if layout.there < layout.told and not self._passing:
            told_s = heard_s * layout.told / max(1, layout.there)
        elif self._sound.frames < _MOST_FRAMES and (self._kind in _COUNTED or (self._passing and layout.told)):
            told_s = self._sound.frames / self.rate_hz
        exact = self._sound.subtype in _EXACT
        if told_s > heard_s + (0 if exact else _INEXACT_S):
            yield f"cut short ({heard_s:.2f} s of {told_s:.2f} s are there)"
        elif self._cut or (pages and pages.cut):
            yield f"cut short ({heard_s:.2f} s are there)"
        if layout.spare and not self._passing:
            yield f"what follows the sound that its header counts is not heard ({layout.spare:,} bytes)"
        if self._passing and (self._beyond or (pages and pages.end) or self._source.goes_on()):
            yield "what follows its end is not heard (joined recordings are, from a file)"

    def _require_sense(self, chunk: np.ndarray, before: int) -> None:
        """Raise InputError for samples that no microphone gives: one of them would spoil all that follow."""
        loudest = np.abs(chunk).max()
        if loudest <= FULL_SCALES:  # False for NaN
            self._whole_numbers = self._whole_numbers and bool((chunk == np.rint(chunk)).all())
            if loudest <= 1 or not self._whole_numbers:
                return
            what, wrong = "a whole number, as are all before it: of another scale than 1", np.abs(chunk) > 1
        else:
            wrong = ~(np.abs(chunk) <= FULL_SCALES)
            finite = np.isfinite(chunk[tuple(np.argwhere(wrong)[0])])
            what = "far beyond full scale, which is 1" if finite else "not finite"
        frame, channel = np.argwhere(wrong)[0]
        at_s, value = (before + int(frame)) / self.rate_hz, float(chunk[frame, channel])
        raise InputError(f"{self._name}: a sample is {what} ({value:g} at {at_s:.3f} s); write it anew, as 16 bits")


@contextmanager
def decoding(name: str, source: Stored | Passing, tell: Tell = untold) -> Iterator[Decoding]:
    """Open a sound for decoding. Raises InputError for what is no sound, or none that this can read."""
    named = isinstance(source, Stored)
    head = source.at(0, HEAD_BYTES) if named else source.await_head(TELLING_BYTES)
    kind = kind_of(head)
    if kind is None and (not named or not head or foreign_or_mpeg(head)):
        raise refused(name, head, kind, "", stored=named)
    with ExitStack() as held:
        if not named and kind not in STREAMED:
            source = Stored(_spooled(name, source, held))
        stored = isinstance(source, Stored)
        read = source.peek if stored else lambda place, count: head[place : place + count]
        layout = laid_out(kind, read, source.size)
        if layout.fault:
            raise InputError(f"{name}: its header names samples that no recorder writes ({layout.fault})")
        pages = OggPages() if kind == "Ogg" else None
        end, following = _paged(pages, source) if pages else layout.end, None
        if stored and end is not None:
            source, following = source.parted(end)
        elif stored and layout.spare:
            source, _ = source.parted(source.size - layout.spare)
        try:
            sound, tape = _opened(name, source, kind, layout, head, held)
            if stored and sound.subtype in _FLOATS:
                # Nothing is said of a file whose scale turns out to be another one: it is heard in advance.
                for _ in Decoding(name, sound, kind, source, tape).chunks():
                    pass
                sound, tape = _opened(name, source, kind, layout, head, held)
        except soundfile.LibsndfileError as error:
            raise refused(name, head, kind, _why(error), stored=named) from error
        yield Decoding(name, sound, kind, source, tape, layout, pages, following, tell)


class _Forward(soundfile.SoundFile):
    """Read forward only: `read` would otherwise look for its place before and after each block."""

    def seekable(self) -> bool:
        return False


def _paged(pages: OggPages, source: Stored | Passing) -> int | None:
    """Return where in a file another recording begins; a pipe's pages are looked at as they pass."""
    if isinstance(source, Passing):
        source.watched(pages.feed)
        return None
    for place in range(0, source.size, HEAD_BYTES):
        pages.feed(source.peek(place, HEAD_BYTES))
    return pages.end


def _opened(
    name: str, source: Stored | Passing, kind: str | None, layout: Layout, head: bytes, held: ExitStack
) -> tuple[soundfile.SoundFile, Tape | None]:
    """Open what libsndfile is to read. Raises LibsndfileError, and InputError for what cannot be in a header."""
    given = _given(source, kind, layout, head)
    with unheard(output=True):
        sound = held.enter_context(_Forward(given, closefd=False))
    if isinstance(source, Passing):
        source.opening = False
    low, high = RATES_HZ
    if not low <= sound.samplerate <= high:
        raise InputError(
            f"{name}: its header names a rate that no recorder has ({sound.samplerate:,} Hz, not {low:,} to {high:,})"
        )
    if sound.channels > MOST_CHANNELS:
        raise InputError(f"{name}: its header names more channels than any recorder has ({sound.channels:,})")
    return sound, given if isinstance(given, Tape) else None


def _given(source: Stored | Passing, kind: str | None, layout: Layout, head: bytes) -> int | Tape:
    """Return what libsndfile is to read from: a descriptor where it can, a tape where it must be told something."""
    if isinstance(source, Stored):
        if kind == MP3:
            # Else its length is computed from the bit rate of the first frame.
            return Tape(source, outgrown_mp3(source.at, source.size), endless=True)
        if layout.patches or not source.whole:
            return Tape(source, layout.patches, endless=False)
        os.lseek(source.descriptor, 0, os.SEEK_SET)
        return source.descriptor
    return Tape(source, layout.patches, endless=True, last=last_ogg_page(head) if kind == "Ogg" else b"")


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


def _why(error: soundfile.LibsndfileError) -> str:
    return f"libsndfile says: {error.error_string.strip().rstrip('.')}"
