"""Functionals of clips, computed by edge's own code and kept on disk."""

from collections.abc import Callable, Sequence

import numpy as np

from edge.errors import InputError
from edge.features.functionals import Functionals, names
from edge.features.mfcc import MfccSpec
from edge.features.voice import voice_frames
from edge.sound.recording import load_recording
from train.data.clip import Clip, LeftOut
from train.data.features import SHORT, Cache, key_of, readable


def clip_functionals(clip: Clip, spec: MfccSpec, cache: Cache) -> np.ndarray:
    """Return the functionals of a whole clip, float32 (functionals,). Raises InputError for a bad recording."""

    def make() -> np.ndarray:
        frames = voice_frames(load_recording(clip.path), spec)
        if not len(frames):
            raise InputError(f"{clip.path}: {SHORT}")
        heard = Functionals(spec)
        heard.process(frames)
        return heard.values()

    return cache.of(clip.corpus).get(key_of("functionals", clip.sha256, spec, names(spec)), make)


def with_functionals(
    clips: Sequence[Clip], spec: MfccSpec, cache: Cache, tell: Callable[[int, int, str], None]
) -> tuple[list[Clip], np.ndarray, list[LeftOut]]:
    """Return the clips that can be read, their functionals (clips, functionals), and those that cannot."""
    kept, rows, unusable = readable(clips, lambda clip: clip_functionals(clip, spec, cache), tell)
    return kept, np.array(rows), unusable
