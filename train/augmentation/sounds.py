"""Recordings of what is not speech: which train and which judge, and drawn so that no kind outweighs the others."""

import re
import zlib
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from edge.errors import InputError
from edge.sound.recording import load_recording

_ESC_NAME = re.compile(r"(?P<fold>[1-5])-\d+-[A-Z]-(?P<category>\d+)$")
ESC_10 = frozenset({0, 1, 10, 11, 12, 20, 21, 38, 40, 41})  # ESC-50's numbers of ESC-10's classes
_JUDGING = {True: "5", False: "3"}  # the fold that no training hears: of ESC-10, and of ESC-50's other classes
_ONE_IN = 5  # of people and pieces of music
_QUIETEST_PEAK = 1e-3
_TRIES = 1_000


def judging(path: Path) -> bool:
    """Return whether a recording is kept for judging: by its fold, or by whose sound it is (the name's first part)."""
    if named := _ESC_NAME.search(path.stem):
        return named["fold"] == _JUDGING[int(named["category"]) in ESC_10]
    return zlib.crc32(path.stem.split("_")[0].encode()) % _ONE_IN == 0


class Sounds:
    """Recordings by collection and class (the folders they lie in): one is drawn by the root of its classes."""

    def __init__(self, files: Sequence[Path]) -> None:
        collections: dict[Path, dict[Path, list[Path]]] = defaultdict(lambda: defaultdict(list))
        for path in files:
            collections[path.parent.parent][path.parent].append(path)
        self._collections = [list(classes.values()) for _, classes in sorted(collections.items())]
        shares = np.sqrt([len(classes) for classes in self._collections])
        self._shares = shares / shares.sum()

    def __bool__(self) -> bool:
        return bool(self._collections)

    def any(self, rng: np.random.Generator) -> np.ndarray:
        """Return a recording that is not all silence: float32 (n,). Raises InputError where it finds none."""
        for _ in range(_TRIES):
            classes = self._collections[rng.choice(len(self._collections), p=self._shares)]
            files = classes[rng.integers(len(classes))]
            sound = _read(files[rng.integers(len(files))])
            if np.abs(sound).max() > _QUIETEST_PEAK * 32_768:  # some of ESC-10 is silent in part
                return sound.astype(np.float32) / 32_768
        raise InputError(f"{self._collections[0][0][0].parent}: none of {_TRIES} recordings drawn is more than silence")


@cache
def _read(path: Path) -> np.ndarray:
    return (np.clip(load_recording(path), -1, 1) * 32_767).astype(np.int16)
