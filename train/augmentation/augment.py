"""Sounds as another room, voice or microphone might have given them.

Speed and noise change the sound (a few variants of each clip, cached as features); level, tempo, cropping, shifts
of the bands and masks change the features, drawn anew for every epoch.
"""

import functools
import random
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soxr

from edge.errors import InputError, printable
from edge.features.mfcc import MfccSpec, dct_matrix, mfcc
from edge.sound.blocks import SAMPLE_RATE_HZ
from edge.sound.recording import load_recording
from train.augmentation.rooms import random_response, reverberant
from train.config import Augmentation
from train.data.clip import Clip, left_out, reasons
from train.data.features import Cache, Shipped, clip_frames, key_of
from train.data.folders import Found, recordings
from train.data.measure import measured
from train.data.windows import speech_bounds

ROOMS = 100
TEST_FOLD = "5-"  # ESC-10's fifth fold is kept for the robustness curves


def noise_files(folder: str | None, cache: str | Path) -> list[Path]:
    """Return the recordings of noise used in training; `cache` as of `sounds_in`. Raises InputError where the folder is
    missing or has none."""
    if folder is None:
        return []
    files = [path for path in sounds_in(folder, str(cache)).files if not path.name.startswith(TEST_FOLD)]
    if not files:
        raise InputError(f"{folder}: no noise recordings in it for training, only of ESC-10's fifth fold")
    return files


@functools.cache  # every training of a comparison asks
def sounds_in(folder: str, cache: str) -> Found:
    """Return the recordings anywhere in a folder of noise that can be read, and what was left out; `cache` is the
    features' folder, in which it is kept which can.

    Raises InputError where it is missing or has none.
    """
    if not Path(folder).is_dir():
        raise InputError(f"{folder}: no such folder of noise recordings")
    found = recordings(Path(folder))
    files, bad = [], []
    for path, one in zip(found.files, measured(list(map(str, found.files)), cache), strict=True):
        if isinstance(one, InputError):
            bad.append(left_out(str(path), one))
        else:
            files.append(path)
    if not files:
        reason = "; ".join(line.removeprefix("left out: ") for line in reasons(found.left_out + bad))
        raise InputError(f"{folder}: no noise recordings in it{f': {reason}' if reason else ''}")
    return Found(files, found.left_out + bad)


def responses(cache: Cache | Shipped) -> np.ndarray:
    """Return what so many rooms do to a sound (rooms.py), always the same ones: float32 (ROOMS, n)."""

    def made() -> np.ndarray:
        rng = np.random.default_rng(0)
        rooms = [random_response(rng) for _ in range(ROOMS)]
        return np.stack([np.pad(room, (0, max(map(len, rooms)) - len(room))) for room in rooms])

    return cache.get(key_of("rooms", ROOMS), made)


class Variants:
    """Speed and noise variants of clips: MFCC frames of each, from the cache or made."""

    def __init__(self, settings: Augmentation, spec: MfccSpec, cache: Cache | Shipped, *, trim: bool) -> None:
        import audiomentations as aug  # slow to import, and only training with augmentation needs it

        self._settings, self._spec, self._cache, self._trim = settings, spec, cache, trim
        low_db, high_db = settings.snr_db
        files = noise_files(settings.noise, cache.folder)
        self._sources = [printable(path.name) for path in files]
        self._rooms = responses(cache) if settings.reverb_share else []
        coloured = aug.AddColorNoise(min_snr_db=low_db, max_snr_db=high_db, p=1.0)
        recorded = [aug.AddBackgroundNoise(files, min_snr_db=low_db, max_snr_db=high_db, p=1.0)] if files else []
        weights = [0.3, 0.7] if files else [1.0]
        self._noise = aug.OneOf([coloured, *recorded], p=settings.noise_share, weights=weights)

    def of(self, clip: Clip) -> Sequence[np.ndarray]:
        """Return the variants of a clip, each read (or made) when it is looked at: all of them fit in no memory."""
        return _Variants(self, clip, self._settings.variants)

    def frames(self, clip: Clip, variant: int) -> np.ndarray:
        """Return the frames of one variant, the same ones whenever asked; variant 0 is the clip itself."""
        settings, spec = self._settings, self._spec
        if variant == 0:
            frames = clip_frames(clip, spec, self._cache)
            return frames[slice(*speech_bounds(frames, spec))] if self._trim else frames
        sound = (
            settings.speed, settings.snr_db, settings.noise_share, settings.reverb_share, self._sources, self._trim
        )  # fmt: skip
        return self._cache.of(clip.corpus).get(
            key_of("variant", clip.sha256, spec, variant, *sound), lambda: self._made(clip, variant)
        )

    def _made(self, clip: Clip, variant: int) -> np.ndarray:
        return mfcc(self._sound(clip, variant), self._spec)

    def _sound(self, clip: Clip, variant: int) -> np.ndarray:
        samples = load_recording(clip.path)
        if self._trim:
            hop = self._spec.hop_samples
            first, last = speech_bounds(clip_frames(clip, self._spec, self._cache), self._spec)
            samples = samples[first * hop : (last - 1) * hop + self._spec.window_samples]
        # audiomentations draws from the standard library's global generator.
        random.seed(f"{clip.sha256} {variant}")
        np.random.seed(random.randrange(2**32))
        speed = random.uniform(*self._settings.speed)
        faster = soxr.resample(samples, SAMPLE_RATE_HZ * speed, SAMPLE_RATE_HZ, quality="HQ")
        if random.random() < self._settings.reverb_share:
            faster = reverberant(faster, self._rooms[random.randrange(len(self._rooms))])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a stretch of digital silence in a noise file: no noise is added
            return self._noise(faster.astype(np.float32), sample_rate=SAMPLE_RATE_HZ)


class _Variants(Sequence[np.ndarray]):
    def __init__(self, made: Variants, clip: Clip, count: int) -> None:
        self._made, self._clip, self._count = made, clip, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, variant: int) -> np.ndarray:
        if not 0 <= variant < self._count:
            raise IndexError(variant)
        return self._made.frames(self._clip, int(variant))


def drawn(
    variants: Sequence[np.ndarray], settings: Augmentation, spec: MfccSpec, rng: np.random.Generator
) -> np.ndarray:
    """Return one variant at another level and tempo, from a random onset to a random end: raw frames
    (n, coefficients)."""
    frames = variants[rng.integers(len(variants))]
    length = max(1, round(len(frames) * rng.uniform(*settings.crop)))
    start = rng.integers(len(frames) - length + 1)
    frames = frames[start : start + length].copy()
    # Decibels on every mel band are a constant in the log, which the orthonormal DCT puts into the zeroth coefficient.
    frames[:, 0] += rng.uniform(*settings.gain_db) * np.sqrt(spec.mels)
    return _at_tempo(frames, rng.uniform(*settings.tempo)) if settings.tempo != (1.0, 1.0) else frames


def _at_tempo(frames: np.ndarray, tempo: float) -> np.ndarray:
    """Frames of the same voice that speaks so much faster, by interpolation between them: pitch and formants stay."""
    places = np.linspace(0, len(frames) - 1, max(1, round(len(frames) / tempo)))
    before = places.astype(int)
    share = (places - before).astype(np.float32)[:, None]
    return frames[before] * (1 - share) + frames[np.minimum(before + 1, len(frames) - 1)] * share


def shifted(windows: np.ndarray, std: Sequence[float], settings: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Return standardized windows (deviations `std`), some of them some mel bands higher or lower: another length of
    the vocal tract. The outermost band stands in for those that are missing."""
    most = settings.band_shift
    if not most or not settings.band_shift_share:
        return windows
    basis, std, there = dct_matrix(len(std), len(std)), np.array(std, np.float32), np.arange(len(std))
    moved = {  # what each shift does to standardized coefficients
        by: std[:, None] * basis[:, np.clip(there - by, 0, len(std) - 1)] @ basis.T / std
        for by in range(-most, most + 1)
        if by
    }
    shifts = rng.choice(list(moved), len(windows)) * (rng.random(len(windows)) < settings.band_shift_share)
    return np.stack([window @ moved[by] if by else window for window, by in zip(windows, shifts, strict=True)])


def masked(windows: np.ndarray, settings: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Return standardized windows with a stretch of time and a range of coefficients set to their mean, in place."""
    for window in windows:
        for axis, longest in ((0, settings.time_mask_frames), (1, settings.coefficient_mask)):
            width = int(rng.integers(longest + 1))
            start = int(rng.integers(window.shape[axis] - width + 1))
            window[(slice(None),) * axis + (slice(start, start + width),)] = 0.0
    return windows
