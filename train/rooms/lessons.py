"""What a network of utterances learns from: every clip heard in rooms with pasts of many kinds, anew in every epoch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edge.features.baseline import Baseline, Prior
from train.data.clip import Clip
from train.rooms.heard_before import TRAINED_MOODS, Room, Setting, judged, rooms
from train.rooms.utterances import Utterances

CLOSED = -1.0  # a label that a corpus lacks: of its clips nobody knows how much they sound like that
_VOICES = (1, 1, 1, 2, 4)
_HEARD = (0, 1, 5, 20, 150)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    """inputs: float32 (n, functionals + 1); truth: of each label 1, 0 or CLOSED, float32 (n, labels); weight: float32
    (n,), 1 in the mean; clips: int (n,)."""

    inputs: np.ndarray
    truth: np.ndarray
    weight: np.ndarray
    clips: np.ndarray


def lessons(
    clips: Sequence[Clip], heard: Utterances, training: Sequence[int], prior: Prior, labels: Sequence[str],
    rng: np.random.Generator,
) -> Lessons:  # fmt: skip
    """Return each clip of the training side once, half of them cut short, in a room and at a place by chance."""
    inputs, found = [], []
    for corpus in sorted({clips[index].corpus for index in training}):
        mine = [index for index in training if clips[index].corpus == corpus]
        setting = Setting(
            voices=int(rng.choice(_VOICES)), moods=str(rng.choice(TRAINED_MOODS)), heard=int(rng.choice(_HEARD))
        )
        drawn = list(rooms(clips, mine, setting, rng, most_mixes=1))
        inputs.append(against(drawn, heard, prior, places=rng.integers(heard.places, size=len(drawn)), cut_by=rng))
        found.append(judged(drawn))
    found = np.concatenate(found)
    return Lessons(
        inputs=np.concatenate(inputs),
        truth=truth_of(clips, found, labels),
        weight=weights_of(clips, found).astype(np.float32),
        clips=found,
    )


def against(
    among: Sequence[Room], heard: Utterances, prior: Prior, *, places: Sequence[int] | None = None,
    cut_by: np.random.Generator | None = None,
) -> np.ndarray:  # fmt: skip
    """Return what a network is given of the judged clips of rooms, one room after the other, each after its past, which
    are as long as each other: float32 (n, functionals + 1)."""
    places = np.zeros(len(among), int) if places is None else places
    baseline = Baseline(prior, rooms=len(among))
    at = list(zip(among, places, strict=True))
    pasts = np.stack([heard.whole(room.past, place) for room, place in at], axis=1)
    for functionals in pasts:
        baseline.hear(functionals)
    asked = [
        heard.whole(room.judged, place) if cut_by is None else heard.cut(room.judged, place, cut_by)
        for room, place in at
    ]
    return baseline.against(np.concatenate(asked), np.repeat(np.arange(len(among)), [len(one) for one in asked]))


def settle(baseline: Baseline, past: Iterable[np.ndarray]) -> None:
    """Let a baseline know a room by these utterances' functionals alone."""
    baseline.reset()
    for functionals in past:
        baseline.hear(functionals)


def truth_of(clips: Sequence[Clip], those: Sequence[int], labels: Sequence[str]) -> np.ndarray:
    """Return float32 (n, labels): 1 for the clip's label, 0 for others that its corpus has, CLOSED for the rest."""
    had: dict[str, set[str]] = {}
    for clip in clips:
        had.setdefault(clip.corpus, set()).add(clip.label)
    found = np.zeros((len(those), len(labels)), np.float32)
    for row, index in zip(found, those, strict=True):
        row[[label not in had[clips[index].corpus] for label in labels]] = CLOSED
        row[list(labels).index(clips[index].label)] = 1.0
    return found


def weights_of(clips: Sequence[Clip], rows: Sequence[int]) -> np.ndarray:
    """Return the weight of each row, 1 in the mean: corpora weigh as the root of their voices, their clips alike."""
    corpora = np.array([clips[index].corpus for index in rows])
    weights = np.zeros(len(rows))
    for corpus in np.unique(corpora):
        mine = corpora == corpus
        voices = {clips[index].speaker for index, is_mine in zip(rows, mine, strict=True) if is_mine}
        weights[mine] = len(voices) ** 0.5 / mine.sum()
    return weights / weights.mean()
