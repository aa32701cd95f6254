"""Recordings of what is not speech: which train and which judge, and drawn so that no kind outweighs the others."""

import re
import zlib
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import soxr

from edge.errors import InputError
from edge.sound.blocks import SAMPLE_RATE_HZ
from edge.sound.recording import load_recording

_ESC_NAME = re.compile(r"(?P<fold>[1-5])-\d+-[A-Z]-(?P<category>\d+)$")
ESC_10 = frozenset({0, 1, 10, 11, 12, 20, 21, 38, 40, 41})  # ESC-50's numbers of ESC-10's classes
_JUDGING = {True: "5", False: "3"}  # the fold that no training hears: of ESC-10, and of ESC-50's other classes
_ONE_IN = 5  # of people and pieces of music
_QUIETEST_PEAK = 1e-3
_TRIES = 1_000
_OTHER_SPEED, _OVER_ANOTHER = 0.6, 0.25  # shares
_OCTAVES, _UNDER_DB = (-0.8, 0.8), (-15.0, 5.0)


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

    def varied(self, rng: np.random.Generator) -> np.ndarray:
        """Return such a recording, or what another thing of its kind might have given: faster or slower, or over
        another sound. Recordings are few, and a network learns few by heart. float32 (n,). Raises InputError."""
        sound = self.any(rng)
        if rng.random() < _OTHER_SPEED:
            sound = soxr.resample(sound, SAMPLE_RATE_HZ * 2 ** rng.uniform(*_OCTAVES), SAMPLE_RATE_HZ)
        if rng.random() < _OVER_ANOTHER:
            under = np.resize(self.any(rng), len(sound))
            sound = at_level(sound, 0.0) + at_level(under, rng.uniform(*_UNDER_DB))
        return sound


def at_level(sound: np.ndarray, level_dbfs: float) -> np.ndarray:
    """Return a sound with its louder fifth at a level."""
    loud = np.sqrt(np.mean(np.sort(sound.astype(np.float64) ** 2)[-max(1, len(sound) // 5) :]))
    return (sound / (loud + 1e-6) * 10 ** (level_dbfs / 20)).astype(np.float32)


@cache
def _read(path: Path) -> np.ndarray:
    return (np.clip(load_recording(path), -1, 1) * 32_767).astype(np.int16)
