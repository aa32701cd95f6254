"""What one pass over a recording's samples says; kept by the file's content, so that no file is decoded twice."""

import hashlib
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
import soundfile

from edge.errors import InputError, UnavailableError
from edge.sound.blocks import SAMPLE_RATE_HZ, steady_blocks
from edge.sound.recording import read_recording

VERSION = 2  # of what is measured and of the sensor's decoding: raise it when either changes
FULL_SCALE = 0.999
_LEVEL_SAMPLES = 320  # 20 ms
_TOGETHER = 500  # files whose measures are written at once: what a kill costs
_FILE = "recordings.sqlite"

Tell = Callable[[int, int, str], None]
T = TypeVar("T")


class Measures(msgspec.Struct, frozen=True, kw_only=True):
    """A recording's samples as the sensor hears them (16 kHz, mono): how long, how loud, and their hash.

    rate_hz: as the file says; loudest_dbfs: RMS of the loudest 20 ms, without a constant offset; clipped_share: of
    samples at full scale; remark: what of the recording is not there, in words.
    """

    duration_s: float
    rate_hz: int
    sound_sha256: str
    loudest_dbfs: float
    clipped_share: float
    remark: str = ""


def measure(path: str) -> Measures:
    """Decode a recording block by block. Raises InputError as `read_recording` does."""
    digest, count, clipped, remarks = hashlib.sha256(), 0, 0, []

    def captured() -> Iterator[np.ndarray]:
        nonlocal count, clipped
        for chunk in read_recording(path, remarks.append):
            digest.update((chunk + np.float32(0)).astype("<f4").tobytes())  # + 0: no zero has a sign
            count += len(chunk)
            clipped += int(np.count_nonzero(np.abs(chunk) >= FULL_SCALE))
            yield chunk

    power = 0.0
    for block, _ in steady_blocks(captured(), rest=True):
        whole = len(block) // _LEVEL_SAMPLES * _LEVEL_SAMPLES
        if whole or count < _LEVEL_SAMPLES:
            pieces = np.square(block[: whole or None], dtype=np.float64).reshape(-1, min(_LEVEL_SAMPLES, len(block)))
            power = max(power, float(pieces.mean(axis=1).max()))
    return Measures(
        duration_s=round(count / SAMPLE_RATE_HZ, 3),
        rate_hz=_rate_hz(path),
        sound_sha256=digest.hexdigest(),
        loudest_dbfs=round(10 * float(np.log10(max(power, 1e-20))), 2),
        clipped_share=clipped / count,
        remark="; ".join(remark.removeprefix(f"{path}: ") for remark in remarks),
    )


def measured(
    paths: Sequence[str], cache: str | Path, tell: Tell = lambda done, total, note: None
) -> Iterator[tuple[str, Measures] | InputError]:
    """Yield each file's SHA-256 and measures, in order, or why it cannot be read; `cache` is the features' folder.

    Raises UnavailableError where the cache cannot be written.
    """
    with _Kept(cache) as kept:
        for start in range(0, len(paths), _TOGETHER):
            some = paths[start : start + _TOGETHER]
            digests = [_digest(path) for path in some]
            known = kept.get([digest for digest in digests if isinstance(digest, str)])
            found = []
            for number, (path, digest) in enumerate(zip(some, digests, strict=True), start=start + 1):
                found.append(_found(path, digest, known))
                tell(number, len(paths), "")
            kept.put(dict(one for one in found if not isinstance(one, InputError)))
            yield from found


def _found(path: str, digest: str | InputError, known: dict[str, Measures]) -> tuple[str, Measures] | InputError:
    if isinstance(digest, InputError):
        return digest
    try:
        return digest, known.get(digest) or measure(path)
    except InputError as error:
        return error


def _digest(path: str) -> str | InputError:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a device or a pipe may never end
            return InputError(f"{path}: not a file")
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        return InputError(f"{path}: cannot be opened ({getattr(error, 'strerror', None) or error})")


def _rate_hz(path: str) -> int:
    """Return the rate of a file that could be decoded, by its content; 0 where only the sensor's reader knows it."""
    try:
        with open(path, "rb") as file, soundfile.SoundFile(file.fileno(), closefd=False) as sound:
            return sound.samplerate
    except soundfile.SoundFileError:
        return 0


class _Kept:
    """Measures by the file's hash, in one SQLite file that several scans may share."""

    def __init__(self, folder: str | Path) -> None:
        self._path = Path(folder) / _FILE
        self._reader = f"{VERSION} {soundfile.__libsndfile_version__}"

    def __enter__(self) -> "_Kept":
        self._guarded(self._open)
        return self

    def __exit__(self, *_: object) -> None:
        self._table.close()

    def get(self, digests: Sequence[str]) -> dict[str, Measures]:
        marks = ",".join("?" * len(digests))
        rows = self._guarded(lambda: self._table.execute(
            f"SELECT sha256, measures FROM heard WHERE reader = ? AND sha256 IN ({marks})", [self._reader, *digests]
        ).fetchall())  # fmt: skip
        return {digest: msgspec.json.decode(kept, type=Measures) for digest, kept in rows}

    def put(self, found: dict[str, Measures]) -> None:
        rows = [(digest, self._reader, msgspec.json.encode(one)) for digest, one in found.items()]

        def written() -> None:
            with self._table:
                self._table.executemany("INSERT OR REPLACE INTO heard VALUES (?, ?, ?)", rows)

        self._guarded(written)

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._table = sqlite3.connect(self._path, timeout=60.0)
        self._table.execute("CREATE TABLE IF NOT EXISTS heard (sha256 TEXT PRIMARY KEY, reader TEXT, measures BLOB)")

    def _guarded(self, do: Callable[[], T]) -> T:
        try:
            return do()
        except (OSError, sqlite3.Error) as error:
            reason = getattr(error, "strerror", None) or error
            raise UnavailableError(
                f"{self._path}: the cache cannot be used ({reason}); remove it, or set train.cache"
            ) from error
