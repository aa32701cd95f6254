"""Beside each MFCC frame what it does not tell of a voice: pitch, voicing, noise, the spectrum's shape."""

import numpy as np

from edge.features.framing import Framing
from edge.features.mfcc import MfccExtractor, MfccSpec
from edge.features.pitch import Lowered, Pitch, harmonics_to_noise_db
from edge.features.spectrum import NAMES, SpectrumShape

DESCRIPTORS = ("pitch", "voicing", "harmonics_to_noise", *NAMES)
_MOST_BLOCKS = 64  # at once: bounds the memory that a long recording takes
_PERIODS_WINDOW = 2  # a low voice needs twice an MFCC frame to show several periods


class VoiceExtractor:
    """Turns a stream of samples into frames of MFCCs with `DESCRIPTORS` behind them.

    The MFCCs are those of `MfccExtractor`, bit by bit. Pitch and voicing hear as many samples again, before.
    """

    def __init__(self, spec: MfccSpec) -> None:
        """Raises ValueError where the front end is not one for voices."""
        self.spec = spec
        self._mfcc = MfccExtractor(spec)
        self._shape = SpectrumShape(spec)
        self._lowered = Lowered(spec.sample_rate_hz)
        step = self._lowered.step
        if spec.hop_samples % step or spec.window_samples % step:
            raise ValueError(f"hop_samples and window_samples are no multiples of {step}, which pitch is sought with")
        window = _PERIODS_WINDOW * spec.window_samples // step
        self._pitch = Pitch(window, block_frames=spec.block_frames)
        self._framing = Framing(
            window_samples=window,
            hop_samples=spec.hop_samples // step,
            block_frames=spec.block_frames,
            before_samples=window - spec.window_samples // step,
        )

    @property
    def columns(self) -> int:
        """How many numbers a frame has."""
        return self.spec.coefficients + len(DESCRIPTORS)

    def reset(self, history: np.ndarray | None = None) -> None:
        """Begin a new sound; `history` is what precedes it, as in `MfccExtractor.reset`: the more, up to
        three quarters of 64 ms, the sooner a pitch is right."""
        self._mfcc.reset(history)
        self._shape.reset()
        self._lowered.reset()
        if history is not None:
            history = self._lowered.process(history[len(history) % self._lowered.step :])
        self._framing.reset(history)

    def process(self, samples: np.ndarray, coefficients: np.ndarray | None = None) -> np.ndarray:
        """Return the frames that `samples` (float32, full scale 1.0) complete: float32 (k * block_frames, columns).

        coefficients: their MFCCs (k * block_frames, coefficients), where they are known already. The more at a time,
        the cheaper each: nearly all of the cost is that of numpy's calls.
        """
        if coefficients is None:
            coefficients = self._mfcc.process(samples)
        framed = self._framing.frames(self._lowered.process(samples))
        at_once = _MOST_BLOCKS * self.spec.block_frames
        groups = [
            self._frames(framed[start : start + at_once], coefficients[start : start + at_once])
            for start in range(0, len(framed), at_once)
        ]
        if len(groups) == 1:
            return groups[0]
        return np.concatenate(groups) if groups else np.empty((0, self.columns), np.float32)

    def _frames(self, framed: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
        pitch, voicing = self._pitch.process(framed)
        frames = np.empty((len(framed), self.columns), np.float32)
        of_mfcc = self.spec.coefficients
        frames[:, :of_mfcc] = coefficients
        frames[:, of_mfcc] = pitch
        frames[:, of_mfcc + 1] = voicing
        frames[:, of_mfcc + 2] = harmonics_to_noise_db(voicing)
        frames[:, of_mfcc + 3 :] = self._shape.process(coefficients)
        return frames


def voice_frames(samples: np.ndarray, spec: MfccSpec) -> np.ndarray:
    """Return all whole frames of a sound, float32 (1 + (n - window) // hop, columns); none if n < window."""
    count = max(0, 1 + (len(samples) - spec.window_samples) // spec.hop_samples)
    padding = np.zeros(-count % spec.block_frames * spec.hop_samples, np.float32)
    return VoiceExtractor(spec).process(np.concatenate([samples, padding]))[:count]
