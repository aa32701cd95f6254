"""MFCC frames of clips, computed by edge's own front end and kept on disk, keyed by content and feature spec."""

import hashlib
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from edge.errors import InputError, UnavailableError
from edge.features.mfcc import MfccSpec, mfcc
from edge.sound.recording import load_recording
from train.data.clip import Clip, LeftOut, left_out
from train.data.store import Store

VERSION = 2  # of what edge computes: raise it when features change for the same spec
_LONGEST_SLUG = 100  # file systems take names of 255 bytes

SHORT = "shorter than one frame of features (features.window_samples): leave it out"


class Cache:
    """Arrays by key in a folder (train/data/store.py), those of a corpus in a store of their own inside it. What is not
    whole is made again."""

    def __init__(self, folder: str | Path, *, around: "Cache | None" = None) -> None:
        self.folder = Path(folder)
        self._store = Store(self.folder)
        self._around = around
        self._corpora: dict[str, Cache] = {}

    def of(self, corpus: str) -> "Cache":
        """Return the store of a corpus."""
        if corpus not in self._corpora:
            self._corpora[corpus] = Cache(self.folder / f"of-{slug(corpus)}", around=self)
        return self._corpora[corpus]

    def kept(self, key: str) -> np.ndarray | None:
        """Return the array kept under `key`, None where there is none."""
        # Before corpora had stores of their own, everything was in the one around them.
        stores = [self._store, self._around._store] if self._around else [self._store]
        for look in (Store.known, Store.get):  # to look into folders costs more than what is found there
            for store in stores:
                if (found := look(store, key)) is not None:
                    return found
        return None

    def get(self, key: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """Return the array kept under `key`, or make and keep it. Raises UnavailableError where it cannot be kept."""
        if (kept := self.kept(key)) is not None:
            return kept
        array = make()
        try:
            self._store.put(key, array)
        except OSError as error:
            named = self._around.folder if self._around else self.folder
            raise UnavailableError(f"{named}: the feature cache cannot be written ({error.strerror})") from error
        kept = self.kept(key)  # from the disk: thousands of arrays are held at once
        return array if kept is None else kept


class Shipped:
    """Arrays sent along with a job, for a machine that has no corpora; what is not among them is made once, and kept
    here only.

    folder: where recordings' measures are kept nevertheless (train/data/measure.py).
    """

    folder = Path("runs/cache")

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self._arrays = dict(arrays)

    def of(self, corpus: str) -> "Shipped":
        """Return the arrays of a corpus, which are among all."""
        return self

    def get(self, key: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """Return the array under `key`, or make it."""
        if key not in self._arrays:
            self._arrays[key] = make()
        return self._arrays[key]


def slug(text: str) -> str:
    """Return a text as a part of a folder's name; of a very long one its beginning and a sum."""
    short = "".join(letter if letter.isalnum() else "-" for letter in text.lower()).strip("-")
    return short if len(short) <= _LONGEST_SLUG else f"{short[: _LONGEST_SLUG - 9]}-{zlib.crc32(text.encode()):08x}"


def key_of(*parts: object) -> str:
    """Return one hash over strings, numbers and records."""
    return hashlib.sha256(msgspec.json.encode([VERSION, *parts], order="sorted")).hexdigest()[:40]


def clip_key(clip: Clip, spec: MfccSpec) -> str:
    """Return the key of a clip's frames."""
    return key_of("mfcc", clip.sha256, spec)


def clip_frames(clip: Clip, spec: MfccSpec, cache: Cache | Shipped) -> np.ndarray:
    """Return a clip's MFCC, float32 (n, coefficients), not standardized. Raises InputError for a bad recording."""

    def make() -> np.ndarray:
        frames = mfcc(load_recording(clip.path), spec)
        if not len(frames):
            raise InputError(f"{clip.path}: {SHORT}")
        return frames

    return cache.of(clip.corpus).get(clip_key(clip, spec), make)


def utterance_frames(clips: Sequence[Clip], spec: MfccSpec, cache: Cache | None = None) -> list[np.ndarray]:
    """Return each clip's MFCC, float32 (n, coefficients), not standardized. Raises InputError for a bad recording."""
    cache = cache or Cache("runs/cache")
    return [clip_frames(clip, spec, cache) for clip in clips]


def readable(
    clips: Sequence[Clip], make: Callable[[Clip], np.ndarray], tell: Callable[[int, int, str], None]
) -> tuple[list[Clip], list[np.ndarray], list[LeftOut]]:
    """Return the clips that can be read, what `make` gives of each, and those that cannot."""
    kept, made, unusable = [], [], []
    for number, clip in enumerate(clips, start=1):
        if number % 100 == 0 or number == len(clips):
            tell(number, len(clips), "")
        try:
            made.append(make(clip))
            kept.append(clip)
        except InputError as error:
            unusable.append(left_out(clip.path, error))
    return kept, made, unusable


def usable(
    clips: Sequence[Clip], spec: MfccSpec, cache: Cache, tell: Callable[[int, int, str], None]
) -> tuple[list[Clip], list[np.ndarray], list[LeftOut]]:
    """Return the clips that can be read, their frames, and those that cannot."""
    return readable(clips, lambda clip: clip_frames(clip, spec, cache), tell)
