"""Arrays by key in a few large files: appended by one process each, memory-mapped by all.

A file per array costs a lookup, an inode and half a disk block each; a corpus of 100,000 clips has a million arrays.
Each process that writes has a pair of files of its own: NNN.data, the arrays one after the other, and NNN.keys, a
record for each (_RECORD). A record is written after its array, so whatever was cut short is not there.

Every mapping holds a descriptor for as long as one of its arrays is in use, and a process may have a thousand. So
NNN.data is longer than what is in it (a hole, which takes no space on the disk): a mapping is good for arrays to come.
"""

import contextlib
import fcntl
import mmap
import os
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

_DIMENSIONS = 4
_RECORD = np.dtype(
    [("key", "V20"), ("crc", "<u4"), ("offset", "<u8"), ("bytes", "<u8"), ("dtype", "S8"), ("dims", "u1"),
     ("shape", "<u4", _DIMENSIONS)]
)  # fmt: skip
_ALIGNED = 16  # bytes
_MOST_FILES = 1_000
_AHEAD_BYTES, _AHEAD_SHARE = 16_000_000, 0.125  # how much longer a file is made than it must be, whichever is more
_MAPPED_BYTES = 64_000_000  # handed out, after which the process lets go of the pages: the system keeps them as it can


class _Part(NamedTuple):
    """Some records of a pair of files, by `prefixes`, the first 8 bytes of their keys, ascending."""

    records: np.ndarray
    prefixes: np.ndarray


class Store:
    """A folder of such pairs. Arrays come as read-only views of the files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._parts: dict[str, list[_Part]] = {}  # the oldest first, each less than half of the one before
        self._read: dict[str, int] = {}  # records known of each pair
        self._ours: dict[bytes, np.void] = {}  # written by this object, and in no part
        self._maps: dict[str, mmap.mmap] = {}
        self._handed_out = 0  # bytes, since the pages were let go of
        self._writing: tuple[str, BinaryIO, BinaryIO] | None = None
        self._end = 0  # bytes of the file that is written, without the hole at its end

    def __getstate__(self) -> Path:
        return self._folder

    def __setstate__(self, folder: Path) -> None:
        self.__init__(folder)

    def get(self, key: str) -> np.ndarray | None:
        """Return the array under a key (40 hexadecimal digits), or None where there is none that is whole."""
        if (found := self.known(key)) is not None:
            return found
        with self._lock:
            return self._found(bytes.fromhex(key)) if self._refresh() else None

    def known(self, key: str) -> np.ndarray | None:
        """Return the same, of what was there when this object last looked into the folder."""
        with self._lock:
            return self._found(bytes.fromhex(key))

    def put(self, key: str, array: np.ndarray) -> None:
        """Keep an array under a key. Raises OSError where it cannot be written; then nothing of it is there."""
        if array.ndim > _DIMENSIONS:
            raise ValueError(f"an array of {array.ndim} dimensions, at most {_DIMENSIONS} can be kept")
        content = np.ascontiguousarray(array).tobytes()
        with self._lock:
            name, data, keys = self._writing = self._writing or self._own()
            offset = self._end + -self._end % _ALIGNED
            end = offset + len(content)
            try:
                if end > data.seek(0, 2):
                    data.truncate(end + max(_AHEAD_BYTES, round(_AHEAD_SHARE * end)))
                data.seek(offset)
                data.write(content)
                data.flush()
                shape = (*array.shape, *[0] * (_DIMENSIONS - array.ndim))
                place = (offset, len(content))
                written = (bytes.fromhex(key), zlib.crc32(content), *place, array.dtype.str, array.ndim, shape)
                record = np.array([written], _RECORD)
                keys.write(record.tobytes())
                keys.flush()
            except OSError:
                self._give_up(offset)
                raise
            self._end = end
            self._ours[bytes.fromhex(key)] = record[0]
            self._read[name] += 1

    def _give_up(self, offset: int) -> None:
        """Take back what was written in part; the next array goes into files opened anew."""
        name, data, keys = self._writing
        self._writing, self._ours, self._read[name], self._parts[name] = None, {}, 0, []  # read anew, from the disk
        for file, end in ((data, offset), (keys, None)):
            with contextlib.suppress(OSError):  # what is left in its buffer fits no more than before
                file.close()
            path = Path(file.name)
            size = path.stat().st_size
            with open(path, "r+b") as again:
                again.truncate(size - size % _RECORD.itemsize if end is None else min(size, end))

    def _own(self) -> tuple[str, BinaryIO, BinaryIO]:
        """Return a pair of files that no other process writes, open at their ends."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for number in range(_MOST_FILES):
            name = f"{number:03}"
            data = open(self._folder / f"{name}.data", "r+b", opener=_created)  # noqa: SIM115 (kept open: it is locked)
            try:
                fcntl.flock(data, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                data.close()
                continue
            keys = open(self._folder / f"{name}.keys", "ab")  # noqa: SIM115
            keys.truncate(keys.tell() - keys.tell() % _RECORD.itemsize)
            self._refresh()
            self._read.setdefault(name, 0)
            told = [part.records["offset"] + part.records["bytes"] for part in self._parts.get(name, ())]
            self._end = int(max((ends.max() for ends in told), default=0))
            return name, data, keys
        raise OSError(f"{self._folder}: {_MOST_FILES} processes write here already")

    def _refresh(self) -> bool:
        """Read what was written since; return whether there is any."""
        anew = False
        for path in sorted(self._folder.glob("*.keys")):
            known, there = self._read.get(path.stem, 0), path.stat().st_size // _RECORD.itemsize
            if there <= known:
                continue
            parts = self._parts.setdefault(path.stem, [])
            records = np.fromfile(path, _RECORD, count=there - known, offset=known * _RECORD.itemsize)
            while parts and len(parts[-1].records) < 2 * len(records):
                records = np.concatenate([parts.pop().records, records])
            prefixes = np.frombuffer(records["key"].tobytes(), np.uint8).reshape(-1, 20)[:, :8]
            prefixes = np.ascontiguousarray(prefixes).view("<u8").ravel()
            order = np.argsort(prefixes, kind="stable")
            parts.append(_Part(records[order], prefixes[order]))
            self._read[path.stem] = there
            anew = True
        return anew

    def _found(self, wanted: bytes) -> np.ndarray | None:
        for name, record in self._records(wanted):
            content = self._bytes(name, int(record["offset"]), int(record["bytes"]))
            if content is not None and zlib.crc32(content) == record["crc"]:
                shape = record["shape"][: record["dims"]]
                return np.frombuffer(content, record["dtype"].decode()).reshape(shape)
        return None

    def _records(self, wanted: bytes) -> Iterator[tuple[str, np.void]]:
        """Yield what is known of a key, of each pair the newest first."""
        if self._writing and wanted in self._ours:
            yield self._writing[0], self._ours[wanted]
        prefix = np.frombuffer(wanted, "<u8", count=1)[0]
        for name, parts in self._parts.items():
            for part in reversed(parts):
                first, last = np.searchsorted(part.prefixes, prefix), np.searchsorted(part.prefixes, prefix, "right")
                for record in part.records[first:last][::-1]:
                    if record["key"].tobytes() == wanted:
                        yield name, record

    def _bytes(self, name: str, offset: int, count: int) -> memoryview | None:
        """Return a part of a file, mapped; None where the file ends before."""
        if offset + count > len(self._maps.get(name, b"")):
            try:
                with open(self._folder / f"{name}.data", "rb") as file:
                    self._maps[name] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError):  # gone, or empty
                return None
            if offset + count > len(self._maps[name]):
                return None
        self._handed_out += count
        if self._handed_out > _MAPPED_BYTES:
            self._handed_out = 0
            for mapped in self._maps.values():
                mapped.madvise(mmap.MADV_DONTNEED)  # what is still in use comes back when it is looked at
        return memoryview(self._maps[name])[offset : offset + count]


def _created(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT, 0o666)
