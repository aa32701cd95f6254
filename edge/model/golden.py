"""The golden sound: made by a formula, replayed at every start through the front end and the graph.

The manifest holds the formula's parameters, some of the features and all the probabilities that the converter saw;
a sensor whose own differ by more than the tolerance refuses to start.
"""

from typing import Annotated

import msgspec
import numpy as np

EVERY_FRAMES = 20  # so much of the features stands in a manifest
_PIECE = 4_096


class GoldenSound(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Harmonics of a gliding pitch in syllables, over uniform noise, at 16 kHz."""

    duration_s: Annotated[float, msgspec.Meta(ge=0.5, le=10)] = 2.4
    pitch_start_hz: Annotated[float, msgspec.Meta(gt=20, lt=1_000)] = 110.0
    pitch_end_hz: Annotated[float, msgspec.Meta(gt=20, lt=1_000)] = 260.0
    harmonics: Annotated[int, msgspec.Meta(ge=1, le=40)] = 20
    syllables_per_s: Annotated[float, msgspec.Meta(gt=0, le=20)] = 3.5
    amplitude: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.1
    noise_amplitude: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.002
    noise_seed: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)] = 1

    def samples(self, rate_hz: int) -> np.ndarray:
        """Return the sound: float32 (duration_s * rate_hz,)."""
        count = int(self.duration_s * rate_hz)
        sound = np.empty(count, np.float32)
        for start in range(0, count, _PIECE):  # so that a start needs no memory which the sensor does not
            piece = np.arange(start, min(start + _PIECE, count), dtype=np.uint32)
            sound[piece] = self._at(piece, rate_hz)
        return sound

    def _at(self, samples: np.ndarray, rate_hz: int) -> np.ndarray:
        t = samples / rate_hz
        glide = (self.pitch_end_hz - self.pitch_start_hz) / (2 * self.duration_s)
        phase = 2 * np.pi * (self.pitch_start_hz * t + glide * t**2)
        voice = sum(np.sin(k * phase) / k for k in range(1, self.harmonics + 1))
        syllables = 0.5 - 0.5 * np.cos(2 * np.pi * self.syllables_per_s * t)
        noise = uniform_noise(samples + np.uint32(self.noise_seed))
        return self.amplitude * syllables * voice + self.noise_amplitude * noise


def uniform_noise(mixed: np.ndarray) -> np.ndarray:
    """Return float64 in [-1, 1), same shape: uint32 counters through the finalizer of MurmurHash3 (fmix32).

    A formula of its own, because loading numpy's generators takes 6.6 MB, which a sensor would carry for nothing else.
    """
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        mixed = (mixed ^ (mixed >> np.uint32(shift))) * np.uint32(factor)
    return mixed / 2.0**31 - 1.0


class Golden(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the converter saw on the golden sound.

    features: every `every_frames`-th MFCC frame, in dB; of the utterance form, the functionals (see
    edge/model/replay.py). probs: a row per answer, from onset to the end. embedding: at the end, where it comes from
    the graph; one made of functionals is proved by the features.
    """

    sound: GoldenSound = GoldenSound()
    every_frames: Annotated[int, msgspec.Meta(ge=1)] = EVERY_FRAMES
    features: list[list[float]]
    probs: list[list[float]]
    probs_tolerance: Annotated[float, msgspec.Meta(gt=0, le=0.05)]
    same_argmax: bool = False
    embedding: list[float] | None = None
    embedding_tolerance: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None


