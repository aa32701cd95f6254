"""Mel-frequency cepstral coefficients, streaming: the only feature code in the house (training calls it too).

The recipe is librosa's: Hann window, |rfft|^2, Slaney mel filters of unit area, 10 log10, orthonormal DCT-II, no
centering, no top_db. Frames are always computed `block_frames` at a time, because a matrix product over another number
of rows differs in the last bits: so the features of a sound do not depend on how it was cut into chunks.
"""

from typing import Annotated

import msgspec
import numpy as np

from edge.features.framing import Framing

# Bounds of sense: an artifact's front end must not keep a sensor busy for ever.
_Rate = Annotated[int, msgspec.Meta(ge=4_000, le=96_000)]
_Samples = Annotated[int, msgspec.Meta(ge=32, le=8_192)]
_Count = Annotated[int, msgspec.Meta(ge=1, le=256)]
_Hertz = Annotated[float, msgspec.Meta(ge=0, le=96_000)]


class MfccSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How sound becomes features; stands in config.yaml before training and in the artifact's manifest after."""

    sample_rate_hz: _Rate = 16_000
    window_samples: _Samples = 512
    hop_samples: _Samples = 320
    mels: _Count = 40
    coefficients: _Count = 40
    low_hz: _Hertz = 0.0
    high_hz: _Hertz = 8_000.0
    power_floor: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1e-10
    block_frames: _Count = 4

    def __post_init__(self) -> None:
        if not self.low_hz < self.high_hz <= self.sample_rate_hz / 2:
            raise ValueError("expected low_hz < high_hz <= sample_rate_hz / 2")
        if self.coefficients > self.mels:
            raise ValueError("expected coefficients <= mels")
        if self.hop_samples > self.window_samples:
            raise ValueError("expected hop_samples <= window_samples")

    @property
    def block_samples(self) -> int:
        """Samples by which one block of frames advances."""
        return self.block_frames * self.hop_samples

    @property
    def overlap_samples(self) -> int:
        """Samples before a block that its first frame also sees."""
        return self.window_samples - self.hop_samples

    @property
    def frames_per_s(self) -> float:
        return self.sample_rate_hz / self.hop_samples


class MelCepstrum:
    """From frames of samples to their power spectra, mel bands and coefficients."""

    def __init__(self, spec: MfccSpec) -> None:
        # All constants are float32 so that no product is widened behind our back.
        self._window = hann(spec.window_samples)
        self._mel = np.ascontiguousarray(mel_filters(spec).T)
        self._dct = np.ascontiguousarray(10.0 * dct_matrix(spec.coefficients, spec.mels).T)  # of bels: log10 as it is
        self._power_floor = np.float32(spec.power_floor)
        self._block_frames = spec.block_frames

    def power(self, framed: np.ndarray) -> np.ndarray:
        """Return float32 (frames, window // 2 + 1) of samples (frames, window)."""
        spectrum = np.fft.rfft(framed * self._window)
        return (spectrum * spectrum.conj()).real.astype(np.float32)

    def bands(self, power: np.ndarray) -> np.ndarray:
        """Return the mel bands' powers, not below the floor: float32 (k * block_frames, mels)."""
        return np.maximum(product(power, self._mel, self._block_frames), self._power_floor)

    def coefficients(self, bands: np.ndarray) -> np.ndarray:
        """Return float32 (k * block_frames, coefficients)."""
        return product(np.log10(bands), self._dct, self._block_frames)


class MfccExtractor:
    """Turns a stream of samples into frames of coefficients.

    Frame t covers samples [t * hop, t * hop + window) of what was processed since the last reset.
    """

    def __init__(self, spec: MfccSpec) -> None:
        self.spec = spec
        self._cepstrum = MelCepstrum(spec)
        self._framing = Framing(
            window_samples=spec.window_samples, hop_samples=spec.hop_samples, block_frames=spec.block_frames
        )

    def reset(self, history: np.ndarray | None = None) -> None:
        """Begin a new sound. With `history` (at least `overlap_samples` samples that precede it), each
        block of `block_samples` gives `block_frames` frames at once instead of one block later."""
        self._framing.reset(history)

    def process(self, samples: np.ndarray) -> np.ndarray:
        """Return the frames that `samples` (float32, full scale 1.0) complete: (k * block_frames, coefficients)."""
        cepstrum = self._cepstrum
        blocks = [
            cepstrum.coefficients(cepstrum.bands(cepstrum.power(framed))) for framed in self._framing.blocks(samples)
        ]
        if len(blocks) == 1:
            return blocks[0]
        return np.concatenate(blocks) if blocks else np.empty((0, self.spec.coefficients), np.float32)


def mfcc(samples: np.ndarray, spec: MfccSpec) -> np.ndarray:
    """Return all whole frames of a sound, float32 (1 + (n - window) // hop, coefficients); none if n < window."""
    count = max(0, 1 + (len(samples) - spec.window_samples) // spec.hop_samples)
    padding = np.zeros(-count % spec.block_frames * spec.hop_samples, np.float32)
    return MfccExtractor(spec).process(np.concatenate([samples, padding]))[:count]


def product(rows: np.ndarray, matrix: np.ndarray, block_frames: int) -> np.ndarray:
    """Return `rows` times `matrix`, (k * block_frames, n), the same bits however many blocks there are."""
    if len(rows) == block_frames:
        return rows.dot(matrix)
    return np.matmul(rows.reshape(-1, block_frames, rows.shape[1]), matrix).reshape(len(rows), -1)


def hann(samples: int) -> np.ndarray:
    """Return the periodic Hann window: float32 (samples,)."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(samples) / samples)).astype(np.float32)


def mel_filters(spec: MfccSpec) -> np.ndarray:
    """Return Slaney's triangular filters of unit area: float32 (mels, window // 2 + 1).

    Source: M. Slaney, Auditory Toolbox, Technical Report 1998-010 (as librosa.filters.mel computes them).
    """
    edges_hz = _mel_edges_hz(spec)
    bins_hz = np.arange(spec.window_samples // 2 + 1) * spec.sample_rate_hz / spec.window_samples
    widths = np.diff(edges_hz)
    ramps = edges_hz[:, None] - bins_hz
    rising = -ramps[:-2] / widths[:-1, None]
    falling = ramps[2:] / widths[1:, None]
    area = 2.0 / (edges_hz[2:] - edges_hz[:-2])
    return (np.maximum(0.0, np.minimum(rising, falling)) * area[:, None]).astype(np.float32)


def mel_centres_hz(spec: MfccSpec) -> tuple[np.ndarray, np.ndarray]:
    """Return where each mel band is highest, and how wide it is at half of that: each float64 (mels,), in Hz."""
    edges_hz = _mel_edges_hz(spec)
    return edges_hz[1:-1], (edges_hz[2:] - edges_hz[:-2]) / 2


def _mel_edges_hz(spec: MfccSpec) -> np.ndarray:
    return _mel_to_hz(np.linspace(_hz_to_mel(spec.low_hz), _hz_to_mel(spec.high_hz), spec.mels + 2))


def dct_matrix(coefficients: int, mels: int) -> np.ndarray:
    """Return the orthonormal DCT-II: float32 (coefficients, mels)."""
    k = np.arange(coefficients)[:, None]
    n = np.arange(mels)
    basis = np.sqrt(2.0 / mels) * np.cos(np.pi * k * (2 * n + 1) / (2 * mels))
    basis[0] /= np.sqrt(2.0)
    return basis.astype(np.float32)


# Slaney's scale: linear below 1 kHz (200/3 Hz a mel), logarithmic above (27 steps to a factor of 6.4).
_LINEAR_HZ_PER_MEL = 200.0 / 3
_BREAK_HZ = 1_000.0
_BREAK_MEL = _BREAK_HZ / _LINEAR_HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27.0


def _hz_to_mel(hz: float) -> float:
    return hz / _LINEAR_HZ_PER_MEL if hz < _BREAK_HZ else _BREAK_MEL + float(np.log(hz / _BREAK_HZ)) / _LOG_STEP


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    above = _BREAK_HZ * np.exp(_LOG_STEP * (mel - _BREAK_MEL))
    return np.where(mel < _BREAK_MEL, mel * _LINEAR_HZ_PER_MEL, above)
