"""What a container says of the sound in it, and whether that can be: how much there is, in which samples, what follows.

A recorder that was killed, or that wrote into a pipe, never came to say how much there is; a copy that was cut short
says more than there is; and recordings joined end to end say how much there is of the first.
"""

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from edge.sound.kinds import MP3, TELLING_BYTES, kind_of

Read = Callable[[int, int], bytes]  # place and count; fewer bytes only at the end

_NEVER_WRITTEN = 0x7FFF_0000  # lengths from here on are what recorders put where they do not know
_SSND_BYTES = 8  # before its sound
_MOST_CHUNKS = 10_000
_SMALL_BYTES = 4_096  # so little behind a sound is none
_PIECE_BYTES = 1 << 20
_WIDTHS = {8: 1, 12: 2, 16: 2, 20: 3, 24: 3, 32: 4, 64: 8}  # bytes in which samples of so many bits stand
_INTEGERS, _FLOATS, _EXTENSIBLE = 1, 3, 0xFFFE  # of WAV's formats, those whose samples are plain numbers
_NEXT_FLAC = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """told: bytes of sound that the header counts, 0 where nobody counted; there: how many of them there are.

    end: where another recording begins, None where none does. spare: bytes behind the sound that belong to nothing.
    fault: what its header says of samples though it cannot be. patches: what to read instead at which place, where the
    header says that there is no sound though some follows.
    """

    told: int = 0
    there: int = 0
    end: int | None = None
    spare: int = 0
    fault: str = ""
    patches: dict[int, bytes] = field(default_factory=dict)


NOWHERE = Layout()


class _Form(NamedTuple):
    """How chunks stand in a container: the place of the first, their header, whether their length counts that, how they
    are aligned, and what the one with the sound is called."""

    first: int
    header: str
    inclusive: bool
    aligned: int
    sound: bytes


_FORMS = {
    "WAV": _Form(12, "4sI", False, 2, b"data"),
    "RF64": _Form(12, "4sI", False, 2, b"data"),
    "AIFF": _Form(12, "4sI", False, 2, b"SSND"),
    "CAF": _Form(8, "4sQ", False, 1, b"data"),
    "W64": _Form(40, "4s12xQ", True, 8, b"data"),
}


def laid_out(kind: str | None, read: Read, size: int) -> Layout:
    """Return what the container of `size` bytes (a huge number where nobody knows) says."""
    if kind == "FLAC":
        return Layout(end=_next_flac(read))
    if kind == "AU":
        return _au(read, size)
    if kind in _FORMS:
        return _chunked(kind, read, size)
    return NOWHERE


def _chunked(kind: str, read: Read, size: int) -> Layout:
    form = _FORMS[kind]
    order = ">" if kind in ("AIFF", "CAF") or read(0, 4) == b"RIFX" else "<"
    header_bytes = struct.calcsize(order + form.header)
    place, sound, length, told, fault, common, large = form.first, 0, 0, 0, "", b"", 0
    for _ in range(_MOST_CHUNKS):
        if len(header := read(place, header_bytes)) < header_bytes or _begins(read, place):
            break
        name, counted = struct.unpack(order + form.header, header)
        counted -= header_bytes if form.inclusive else 0
        if counted < 0 or not re.fullmatch(rb"[ -~]{4}", name):
            break
        place += header_bytes
        if name == b"fmt ":
            fault = _wav_fault(read(place, 40), order)
        elif name == b"COMM":
            common = read(place, min(counted, 22))
        elif name == b"ds64":
            large = place + 8  # of 64 bits, for the sound
        elif name == form.sound and not sound:
            sound, length = place, counted
            told = counted = int.from_bytes(read(large, 8), "little") if large and length == 0xFFFF_FFFF else length
            if kind == "AIFF":
                fault = _aiff_fault(common, length)
        place += counted + -(place + counted) % form.aligned
    follow = size - sound
    if not sound or follow <= 0 or (kind == "AIFF" and told <= _SSND_BYTES):
        return Layout(fault=fault)
    patches = {}
    if large and length == 0xFFFF_FFFF:
        if not 0 < told <= follow:  # more than there is: of unknown length
            patches = {large: struct.pack("<Q", follow)}
    elif not length and kind in ("WAV", "RF64") and not size <= place <= size + 1:  # not just further chunks
        patches = {sound - 4: struct.pack(f"{order}I", min(follow, 0xFFFF_FFFF))}
    if kind == "CAF" and told > follow:  # which libsndfile refuses
        patches = {sound - 8: struct.pack(">Q", follow)}
    if not told or told >= (1 << 62 if large or header_bytes > 8 else _NEVER_WRITTEN):
        return Layout(fault=fault, patches=patches)
    joined, spare = place < size and _begins(read, place), size - place
    return Layout(
        told=told, there=min(told, follow), end=place if joined else None, fault=fault, patches=patches,
        spare=spare if spare > _SMALL_BYTES and not joined else 0,
    )  # fmt: skip


def _au(read: Read, size: int) -> Layout:
    order = ">" if read(0, 4) == b".snd" else "<"
    sound, told = struct.unpack(f"{order}II", read(4, 8).rjust(8, b"\xff"))
    if not told or told >= _NEVER_WRITTEN:
        return Layout()
    place, there = sound + told, max(0, min(told, size - sound))
    joined, spare = place < size and _begins(read, place), size - place
    return Layout(
        told=told, there=there, end=place if joined else None, spare=spare if spare > _SMALL_BYTES and not joined else 0
    )


def _begins(read: Read, place: int) -> bool:
    """Whether another recording begins here (MP3 aside: its tags stand at ends, too)."""
    return place > 0 and kind_of(read(place, TELLING_BYTES)) not in (None, MP3)


def _wav_fault(described: bytes, order: str) -> str:
    """Return what is wrong with the samples that a `fmt ` chunk describes, in words."""
    if len(described) < 16:
        return ""
    way, channels, _, _, block, bits = struct.unpack_from(f"{order}HHIIHH", described)
    if way == _EXTENSIBLE and len(described) >= 26:
        (way,) = struct.unpack_from(f"{order}H", described, 24)
    if way not in (_INTEGERS, _FLOATS) or not channels:
        return ""
    if block == channels * _WIDTHS.get(bits, 0) and (way == _INTEGERS or bits in (32, 64)):
        return ""
    return f"{bits} bits in {block} bytes for {channels} channel{'s' if channels > 1 else ''}"


def _aiff_fault(described: bytes, length: int) -> str:
    """Return what is wrong with the samples that a `COMM` chunk describes, for `length` bytes of sound, in words."""
    if len(described) < 18 or described[18:] not in (b"", b"NONE", b"sowt", b"twos"):
        return ""
    channels, frames, bits = struct.unpack_from(">HIH", described)
    if not frames or not length or abs(frames * channels * _WIDTHS.get(bits, 0) + 8 - length) <= 8:
        return ""
    return f"{frames:,} times {channels} of {bits} bits in {length:,} bytes"


def _next_flac(read: Read) -> int | None:
    """Return where another FLAC begins."""
    place = 4
    while piece := read(place, _PIECE_BYTES + 7):
        if found := _NEXT_FLAC.search(piece):
            return place + found.start()
        place += _PIECE_BYTES
    return None


class OggPages:
    """Follows the pages of an Ogg as they pass (RFC 3533).

    damaged: some are missing or altered; cut: the last one of a stream did not come; end: the place of a page that
    begins another recording, None where none did.
    """

    def __init__(self) -> None:
        self._bytes, self._place = b"", 0
        self._next: dict[int, int] = {}  # of streams that have not ended, the number of the page to come
        self._sounded = False
        self.damaged = False
        self.end: int | None = None

    @property
    def cut(self) -> bool:
        return bool(self._next)

    def feed(self, data: bytes) -> None:
        """Take the bytes that follow; nothing from where another recording begins."""
        self._bytes += data
        while self.end is None:
            start = self._bytes.find(b"OggS")
            if start:
                self._skip(start if start > 0 else max(0, len(self._bytes) - 3))
            if start < 0 or len(self._bytes) < 27:
                return
            segments = self._bytes[26]
            length = 27 + segments + sum(self._bytes[27 : 27 + segments])
            if len(self._bytes) < 27 + segments or len(self._bytes) < length:
                return
            page = self._bytes[:length]
            (told,) = struct.unpack_from("<I", page, 22)
            if ogg_checksum(page[:22] + bytes(4) + page[26:]) != told:
                self._skip(4)
                continue
            self._turn(page)
            if self.end is None:
                self._bytes, self._place = self._bytes[length:], self._place + length

    def _turn(self, page: bytes) -> None:
        flags, (serial, number) = page[5], struct.unpack_from("<II", page, 14)
        if flags & 2:  # a stream begins
            if self._sounded:
                self.end = self._place
                return
        else:
            self._sounded = True
            self.damaged |= self._next.get(serial, number) != number
        self._next[serial] = number + 1
        if flags & 4:
            del self._next[serial]

    def _skip(self, count: int) -> None:
        self.damaged |= bool(count and self._next)  # behind the end of all streams there may be anything
        self._bytes, self._place = self._bytes[count:], self._place + count


def last_ogg_page(head: bytes) -> bytes:
    """Return a page that ends the stream which `head` begins, an age later: a decoder that looks at the end for the
    length of what comes through a pipe finds it there."""
    age = struct.pack("<q", _AGE_SAMPLES)
    page = b"OggS\x00\x04" + age + head[14:18] + struct.pack("<II", 0x7FFF_FFFF, 0) + b"\x00"
    return page[:22] + struct.pack("<I", ogg_checksum(page)) + page[26:]


_AGE_SAMPLES = 1 << 48
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def ogg_checksum(page: bytes) -> int:
    """Return the checksum of a page whose own is zeros: zlib's polynomial, from the highest bit, and not inverted."""
    mirrored = zlib.crc32(page.translate(_MIRRORED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int(f"{mirrored:032b}"[::-1], 2)
