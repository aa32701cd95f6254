"""Beside each MFCC frame what it does not tell of a voice: pitch, voicing, noise, the spectrum's shape, formants."""

import numpy as np

from edge.features.formants import COUNT, Formants
from edge.features.framing import Framing
from edge.features.mfcc import MelCepstrum, MfccSpec, hann
from edge.features.pitch import Pitch, harmonics_to_noise_db
from edge.features.spectrum import NAMES, SpectrumShape

_FORMANTS = tuple(f"formant_{number}" for number in range(1, COUNT + 1))
DESCRIPTORS = ("pitch", "voicing", "harmonics_to_noise", *NAMES, *_FORMANTS)
_MOST_BLOCKS = 64  # at once: bounds the memory that a long recording takes
_PERIODS_WINDOW = 2  # a low voice needs twice an MFCC frame to show several periods


class VoiceExtractor:
    """Turns a stream of samples into frames of MFCCs with `DESCRIPTORS` behind them.

    The MFCCs are those of `MfccExtractor`, bit by bit. Pitch, voicing and formants see as many samples again, before.
    """

    def __init__(self, spec: MfccSpec) -> None:
        self.spec = spec
        window_samples = _PERIODS_WINDOW * spec.window_samples
        self._before_samples = window_samples - spec.window_samples
        self._framing = Framing(
            window_samples=window_samples,
            hop_samples=spec.hop_samples,
            block_frames=spec.block_frames,
            before_samples=self._before_samples,
        )
        self._cepstrum = MelCepstrum(spec)
        self._shape = SpectrumShape(
            window_samples=spec.window_samples, sample_rate_hz=spec.sample_rate_hz, block_frames=spec.block_frames
        )
        self._window = hann(window_samples)
        self._pitch = Pitch(self._window, sample_rate_hz=spec.sample_rate_hz)
        self._formants = Formants(
            window_samples=window_samples, sample_rate_hz=spec.sample_rate_hz, block_frames=spec.block_frames
        )

    @property
    def columns(self) -> int:
        """How many numbers a frame has."""
        return self.spec.coefficients + len(DESCRIPTORS)

    def reset(self, history: np.ndarray | None = None) -> None:
        """Begin a new sound; `history` is what precedes it, as in `MfccExtractor.reset`: the more, up to
        three quarters of 64 ms, the sooner a pitch is right."""
        self._framing.reset(history)
        self._shape.reset()

    def process(self, samples: np.ndarray) -> np.ndarray:
        """Return the frames that `samples` (float32, full scale 1.0) complete: float32 (k * block_frames, columns).

        The more at a time, the cheaper each: nearly all of the cost is that of numpy's calls.
        """
        at_once = _MOST_BLOCKS * self.spec.block_samples
        framed = (self._framing.frames(samples[start : start + at_once]) for start in range(0, len(samples), at_once))
        groups = [self._frames(frames) for frames in framed if len(frames)]
        return np.concatenate(groups) if groups else np.empty((0, self.columns), np.float32)

    def _frames(self, framed: np.ndarray) -> np.ndarray:
        power = self._cepstrum.power(framed[:, self._before_samples :])
        bands = self._cepstrum.bands(power)
        spectrum = np.fft.rfft(framed * self._window)
        fine = spectrum.real**2 + spectrum.imag**2
        pitch, voicing = self._pitch.process(np.fft.irfft(fine))
        return np.column_stack(
            [
                self._cepstrum.coefficients(bands),
                pitch,
                voicing,
                harmonics_to_noise_db(voicing),
                self._shape.process(power, bands),
                self._formants.process(fine),
            ]
        )


def voice_frames(samples: np.ndarray, spec: MfccSpec) -> np.ndarray:
    """Return all whole frames of a sound, float32 (1 + (n - window) // hop, columns); none if n < window."""
    count = max(0, 1 + (len(samples) - spec.window_samples) // spec.hop_samples)
    padding = np.zeros(-count % spec.block_frames * spec.hop_samples, np.float32)
    return VoiceExtractor(spec).process(np.concatenate([samples, padding]))[:count]
