"""Frames of clips as the arrays a network sees: cut, standardized by edge, the last W frames, zeros in front."""

from collections.abc import Iterable, Sequence

import numpy as np

from edge.features.mfcc import MfccSpec
from edge.features.normalize import HORIZON_S, PRIOR_FRAMES, Kind, Normalization, Normalizer

# What counts as speech when a clip's ends are trimmed, and what the sensor's gates leave around it.
SPEECH_BELOW_PEAK_DB = 25.0
PRE_ROLL_S = 0.24
HANG_OVER_S = 0.56

UNASKED_S, ASKED_S = 0.3, 3.0  # of an utterance, for networks that answer all along (1.0 s: 3 points worse at the end)


def speech_bounds(frames: np.ndarray, spec: MfccSpec) -> tuple[int, int]:
    """Return first and one past last frame of the utterance in a clip, as the sensor would cut it.

    The zeroth orthonormal coefficient is sqrt(mels) times the mean log-mel level in dB.
    """
    level_db = frames[:, 0] / np.sqrt(spec.mels)
    speech = np.flatnonzero(level_db > np.percentile(level_db, 95) - SPEECH_BELOW_PEAK_DB)
    before, after = int(PRE_ROLL_S * spec.frames_per_s), int(HANG_OVER_S * spec.frames_per_s)
    return max(0, int(speech[0]) - before), min(len(frames), int(speech[-1]) + 1 + after)


def normalization_of(utterances: Iterable[np.ndarray], kind: Kind, spec: MfccSpec) -> Normalization:
    """Return the normalization measured on the training side's frames, which need not fit into memory together: they
    are gone through three times."""
    count = sum(map(len, utterances))
    mean = sum(np.sum(frames, axis=0, dtype=np.float64) for frames in utterances) / count
    std = np.sqrt(sum(np.sum((frames - mean) ** 2, axis=0) for frames in utterances) / count)
    return Normalization(
        kind=kind,
        mean=[float(value) for value in np.round(mean, 5)],
        std=[float(value) for value in np.round(std, 5)],
        prior_frames=PRIOR_FRAMES,
        horizon_frames=round(HORIZON_S * spec.frames_per_s),
    )


def standardized(utterances: Sequence[np.ndarray], settings: Normalization) -> list[np.ndarray]:
    """Return each utterance standardized from its onset, by edge's own Normalizer; shapes stay."""
    longest = max(len(frames) for frames in utterances)
    together = np.zeros((longest, len(utterances), utterances[0].shape[1]), np.float32)
    for index, frames in enumerate(utterances):
        together[: len(frames), index] = frames
    together = Normalizer(settings).process(together)
    return [together[: len(frames), index] for index, frames in enumerate(utterances)]


def windowed(utterances: Sequence[np.ndarray], window_frames: int, step_frames: int = 1) -> np.ndarray:
    """Return the last `window_frames` of each utterance, zeros in front of shorter ones: (n, window, coefficients).

    Of an utterance's whole steps, so that it begins with one.
    """
    windows = np.zeros((len(utterances), window_frames, utterances[0].shape[1]), np.float32)
    for index, frames in enumerate(utterances):
        last = frames[: len(frames) - len(frames) % step_frames][-window_frames:]
        windows[index, window_frames - len(last) :] = last
    return windows


def windows_of(
    utterances: Sequence[np.ndarray], settings: Normalization, window_frames: int, step_frames: int = 1
) -> np.ndarray:
    """Return standardized windows of whole utterances: float32 (n, window, coefficients)."""
    return windowed(standardized(utterances, settings), window_frames, step_frames)


def along(truth: np.ndarray, windows: np.ndarray, step_s: float, step_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Return truth (n, steps, ...) and weight (n, steps) of every step of windows, from the truth (n, ...) of each:
    the sooner, the less is asked of an answer.

    Nothing is asked of the padding, nor of the first UNASKED_S unless there is no more; from ASKED_S on, all. Every
    utterance counts the same.
    """
    steps = windows.reshape(len(windows), -1, step_frames * windows.shape[2]).any(axis=2)
    since = np.cumsum(steps, axis=1) * step_s
    weight = np.clip((since - UNASKED_S) / (ASKED_S - UNASKED_S), 0, 1) * steps
    weight[:, -1] = np.maximum(weight[:, -1], 1e-3)
    weight *= weight.shape[1] / weight.sum(axis=1, keepdims=True)
    return np.repeat(truth[:, None], weight.shape[1], axis=1), weight.astype(np.float32)


def heard_of(window_frames: int | None, *, trim: bool) -> str:
    """Return in words what of a clip a figure is about: its last frames (None: all of it), silence cut off or not."""
    what = "the whole of each clip" if window_frames is None else f"the last {window_frames} frames of each clip"
    return f"{what}, silence at its ends {'cut off' if trim else 'included'}"
