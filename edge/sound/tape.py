"""Bytes for a decoder that wants to go back and forth: of a file, or of a pipe, in which nobody can."""

import os
import select
from collections.abc import Callable

from edge.sound.kinds import HEAD_BYTES

ENDLESS_BYTES = 1 << 48  # said to be the length of what comes through a pipe
_TAIL_BYTES = 1 << 18  # in which decoders look for what may stand at an end
_BARE_BYTES = 4_096  # as long as the header of an empty file may be
_SKIP_BYTES = 1 << 20
_POLL_MS = 250


class Stored:
    """A regular file, or the part of it between `begin` and `end`. size: its bytes. descriptor: of all the file."""

    def __init__(self, descriptor: int, begin: int = 0, end: int | None = None) -> None:
        self.descriptor, self._begin = descriptor, begin
        self._file_bytes = os.fstat(descriptor).st_size
        self.size = (self._file_bytes if end is None else end) - begin
        self._furthest = 0

    @property
    def whole(self) -> bool:
        """Whether it is all of the file, which may then be read by its descriptor, too."""
        return self.size == self._file_bytes

    @property
    def exhausted(self) -> bool:
        """Whether the last byte was read."""
        return max(self._furthest, os.lseek(self.descriptor, 0, os.SEEK_CUR) - self._begin) >= self.size

    @property
    def holds_more(self) -> bool:
        """Whether it is longer than a header alone."""
        return self.size > _BARE_BYTES

    def peek(self, place: int, count: int) -> bytes:
        """Return the bytes at `place`, fewer only at the end; there are none beyond, however far."""
        place = min(place, self.size)
        return os.pread(self.descriptor, min(count, self.size - place), self._begin + place)

    def at(self, place: int, count: int) -> bytes:
        """Return the same, read by a decoder."""
        read = self.peek(place, count)
        self._furthest = place + len(read)
        return read

    def parted(self, place: int) -> tuple["Stored", "Stored"]:
        """Return what is before a place, and from there on."""
        begin, end = self._begin, self._begin + self.size
        return Stored(self.descriptor, begin, begin + place), Stored(self.descriptor, begin + place, end)


class Passing:
    """A pipe: heard as it comes, until it ends or `stopping`. Only its head is kept.

    opening: its header is still being read. exhausted: it ended.
    """

    size = ENDLESS_BYTES
    holds_more = False

    def __init__(self, descriptor: int, stopping: Callable[[], bool] = lambda: False) -> None:
        self._descriptor, self._stopping = descriptor, stopping
        self._arrivals = select.poll()
        self._arrivals.register(descriptor, select.POLLIN)
        self._head, self._passed = b"", 0
        self.opening, self.exhausted = True, False
        self._watch: Callable[[bytes], None] = lambda passed: None

    def at(self, place: int, count: int) -> bytes:
        """Return the bytes at `place`, fewer only at the end; none where the past is gone, or, while `opening`, where
        the future would have to be waited for."""
        first = b""
        if place < HEAD_BYTES:
            self.await_head(min(place + count, HEAD_BYTES))
            first = self._head[place : place + count]
            place, count = HEAD_BYTES, count - len(first)
            if not count or len(self._head) < HEAD_BYTES:
                return first
        if self.opening or not 0 <= place - self._passed <= _SKIP_BYTES:
            return first
        self._take(place - self._passed)
        return first + self._take(count)

    def await_head(self, count: int) -> bytes:
        """Return the first `count` bytes (HEAD_BYTES at most), fewer if there are no more."""
        while len(self._head) < count and (more := self.some(count - len(self._head))):
            self._head += more
        return self._head[:count]

    def some(self, count: int) -> bytes:
        """Return the next bytes, as soon as there are any; none at the end."""
        while not self._stopping():
            if self._arrivals.poll(_POLL_MS):
                read = os.read(self._descriptor, count)
                self._passed += len(read)
                self.exhausted = not read
                self._watch(read)
                return read
        return b""

    def watched(self, watch: Callable[[bytes], None]) -> None:
        """Have all that passed, and will, given to `watch`."""
        watch(self._head)
        self._watch = watch

    def has_writer(self) -> bool:
        """Whether anybody has opened a named pipe, of which nothing was read yet, to write into it."""
        if self._arrivals.poll(0):
            return True
        try:
            self._head = os.read(self._descriptor, HEAD_BYTES)
        except BlockingIOError:
            return True
        self._passed = len(self._head)
        return bool(self._head)

    def goes_on(self) -> bool:
        """Whether more than a few bytes come, soon, behind what was taken."""
        came = 0
        while came <= _BARE_BYTES and self._arrivals.poll(_POLL_MS) and (more := os.read(self._descriptor, HEAD_BYTES)):
            came += len(more)
        return came > _BARE_BYTES

    def _take(self, count: int) -> bytes:
        taken = []
        while count > 0 and (more := self.some(min(count, HEAD_BYTES))):
            taken.append(more)
            count -= len(more)
        return b"".join(taken)


class Tape:
    """Stored or Passing as the file object that soundfile wants. Nothing here may raise: a callback cannot say so.

    patches: what to read instead at which place. endless: say that it has no end, so that nobody computes a length
    from it; what would lie there is zeros, and `last` behind them.
    """

    def __init__(
        self,
        source: Stored | Passing,
        patches: dict[int, bytes] | None = None,
        *,
        endless: bool,
        last: bytes = b"",
    ) -> None:
        self._source, self._patches = source, patches or {}
        self._size = ENDLESS_BYTES if endless else source.size
        self._tail = last.rjust(_TAIL_BYTES, b"\x00") if endless else b""
        self._place = 0
        self.failed: OSError | None = None

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        self._place = max(0, start + offset)
        return self._place

    def readinto(self, into: memoryview) -> int:
        count = len(into)
        if (into_tail := self._place - self._size + len(self._tail)) >= 0 and self._tail:
            read = self._tail[into_tail : into_tail + count]
            into[: len(read)] = read
            self._place += len(read)
            return len(read)
        try:
            read = bytearray(self._source.at(self._place, count))
        except OSError as error:
            self.failed = error
            return 0
        for place, patch in self._patches.items():
            for index, byte in enumerate(patch, start=place - self._place):
                if 0 <= index < len(read):
                    read[index] = byte
        into[: len(read)] = read
        self._place += len(read)
        return len(read)
