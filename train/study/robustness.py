"""The same clips in noise and in rooms: how fast a network's answers go wrong."""

import random
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from edge.errors import printable
from edge.features.mfcc import MfccSpec, mfcc
from edge.sound.recording import load_recording
from train.augmentation.augment import TEST_FOLD, sounds_in
from train.augmentation.rooms import ROOMS, impulse_response, reverberant, rms
from train.data.clip import Clip
from train.data.features import Cache, clip_frames, key_of
from train.data.windows import speech_bounds

CLEAN = "clean"
_SILENT_RMS = 1e-3


def conditions(snrs_db: Sequence[float], *, noise: bool) -> list[str]:
    """Return the names of all conditions, clean first."""
    return [CLEAN, *([f"{snr:g} dB" for snr in snrs_db] if noise else []), *ROOMS]


def noise_recordings(folder: str | Path, cache: str | Path) -> dict[str, np.ndarray]:
    """Return the noises of ESC-10's fifth fold (no training hears them); all files of another folder.
    `cache` as of `sounds_in`.

    Raises InputError where the folder is missing or has none.
    """
    files = sounds_in(str(folder), str(cache)).files
    files = [path for path in files if path.name.startswith(TEST_FOLD)] or files
    sounds = {printable(path.name): load_recording(path) for path in files}
    return {name: sound for name, sound in sounds.items() if rms(sound) > _SILENT_RMS}


def degraded(
    clips: Sequence[Clip], condition: str, noises: dict[str, np.ndarray], spec: MfccSpec, cache: Cache
) -> list[np.ndarray]:
    """Return the clips' MFCC under a condition; which noise, and from where, depends on the clip alone."""
    if condition == CLEAN:
        return [clip_frames(clip, spec, cache) for clip in clips]
    return [
        cache.of(clip.corpus).get(
            key_of("degraded", clip.sha256, spec, condition, made_of(condition, noises)),
            lambda clip=clip: mfcc(heard_in(clip, condition, noises), spec),
        )
        for clip in clips
    ]


def made_of(condition: str, noises: dict[str, np.ndarray]) -> list:
    """Return what a condition is made of, for keys of a cache."""
    return list(ROOMS[condition]) if condition in ROOMS else sorted(noises)


def heard_in(clip: Clip, condition: str, noises: dict[str, np.ndarray]) -> np.ndarray:
    """Return a clip's samples under a condition other than clean: float32 (n,)."""
    samples = load_recording(clip.path)
    if condition in ROOMS:
        return reverberant(samples, _response(condition))
    return noisy(samples, noises, float(condition.removesuffix(" dB")), seed=clip.sha256)


@lru_cache(maxsize=len(ROOMS))
def _response(room: str) -> np.ndarray:
    return impulse_response(*ROOMS[room])


def utterances(
    clips: Sequence[Clip], condition: str, noises: dict[str, np.ndarray], spec: MfccSpec, cache: Cache
) -> list[np.ndarray]:
    """Return the clips' MFCC under a condition, cut where speech begins and ends in the clean ones."""
    clean, heard = (degraded(clips, name, noises, spec, cache) for name in (CLEAN, condition))
    return [frames[slice(*speech_bounds(original, spec))] for frames, original in zip(heard, clean, strict=True)]


def noisy(samples: np.ndarray, noises: dict[str, np.ndarray], snr_db: float, *, seed: str) -> np.ndarray:
    """Return the sound with one of the noises at a signal-to-noise ratio over the whole clip (powers in dB)."""
    draw = random.Random(seed)
    for _ in range(100):
        noise = noises[draw.choice(sorted(noises))]
        noise = np.roll(noise, -draw.randrange(len(noise)))
        noise = np.resize(noise, len(samples))
        if rms(noise) > _SILENT_RMS:  # some of these recordings are silent in part
            break
    return (samples + noise * (rms(samples) / rms(noise) * 10 ** (-snr_db / 20))).astype(np.float32)
