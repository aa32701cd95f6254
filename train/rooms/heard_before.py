"""Rooms as a sensor meets them: whose voices are in it, what it has heard there, and what it is asked then."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from train.data.clip import Clip

Moods = Literal["balanced", "neutral", "one mood"]
MAIN_SHARE = 0.7  # of what is said most where the moods are not balanced


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A kind of room.

    voices: how many speak there. moods: what was said before: every label alike, *neutral* in seven of ten utterances,
    or one label in seven of ten. heard: how many utterances were heard before, each drawn anew.
    """

    voices: int
    moods: Moods
    heard: int

    def __str__(self) -> str:
        return f"{self.voices} {'voice' if self.voices == 1 else 'voices'}, {self.moods}, {self.heard} heard"


# Of what is heard in training: most rooms are calm most of the time, some are not.
TRAINED_MOODS: tuple[Moods, ...] = ("neutral", "neutral", "neutral", "balanced", "one mood")
JUDGED = Setting(voices=1, moods="neutral", heard=20)
SETTINGS = (
    *(Setting(voices=1, moods="neutral", heard=heard) for heard in (0, 1, 5)),
    JUDGED,
    Setting(voices=1, moods="neutral", heard=150),
    Setting(voices=1, moods="balanced", heard=20),
    Setting(voices=1, moods="one mood", heard=20),
    Setting(voices=2, moods="neutral", heard=20),
    Setting(voices=4, moods="neutral", heard=20),
)
_LEAST_ROOMS = 16  # with the same mix of moods: few voices are judged in several sets of rooms


def known_rooms() -> list[Setting]:
    """Return the settings that differ by how well a room of one voice is known, the least first."""
    return [setting for setting in SETTINGS if setting.voices == 1 and setting.moods == "neutral"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """past: int (heard,), clips in the order in which they were heard; judged: int (n,), none of them in the past."""

    past: np.ndarray
    judged: np.ndarray


def rooms(
    clips: Sequence[Clip],
    among: Sequence[int],
    setting: Setting,
    generator: np.random.Generator,
    *,
    most_mixes: int | None = None,
) -> Iterator[Room]:
    """Yield rooms of one corpus's voices in which, together, every clip is judged, once for each mix of moods.

    most_mixes: only so many, drawn for each room's voices; `one mood` is as many mixes as the corpus has labels.

    The clips of a room's voices are cut into halves by chance: one is the past of the other, and the other way round.
    Where fewer voices are left than a room has, others come in again; a corpus with fewer has rooms of all its voices.
    """
    among = np.asarray(among)
    speakers = np.array([clips[index].speaker for index in among])
    labels = np.array([clips[index].label for index in among])
    names = generator.permutation(np.unique(speakers))
    for start in range(0, len(names), setting.voices):
        group = np.take(names, range(start, start + min(setting.voices, len(names))), mode="wrap")
        own = generator.permutation(np.flatnonzero(np.isin(speakers, group)))
        mixes = _mixes(setting.moods, np.unique(labels))
        for number in generator.permutation(len(mixes))[:most_mixes]:
            for past, judged in ((own[::2], own[1::2]), (own[1::2], own[::2])):
                drawn = _drawn(labels[past], mixes[number], setting.heard, generator)
                yield Room(past=among[past[drawn]], judged=among[judged])


def judged_rooms(clips: Sequence[Clip], strange: Sequence[int], setting: Setting) -> list[Room]:
    """Return the rooms in which strangers are judged, always the same."""
    generator = np.random.default_rng(1)
    voices = len({clips[index].speaker for index in strange})
    times = -(-_LEAST_ROOMS // (2 * -(-voices // setting.voices)))
    return [room for _ in range(times) for room in rooms(clips, strange, setting, generator)]


def judged(among: Sequence[Room]) -> np.ndarray:
    """Return the judged clips of rooms, one room after the other: int (n,)."""
    return np.concatenate([room.judged for room in among])


def _mixes(moods: Moods, labels: np.ndarray) -> list[dict[str, float]]:
    """Return the share of each label, for each mix that a setting stands for."""
    if moods == "balanced":
        return [{label: 1 / len(labels) for label in labels}]
    main = ["neutral"] if moods == "neutral" else list(labels)
    rest = (1 - MAIN_SHARE) / (len(labels) - 1)
    return [{label: MAIN_SHARE if label == most else rest for label in labels} for most in main]


def _drawn(labels: np.ndarray, shares: dict[str, float], count: int, generator: np.random.Generator) -> np.ndarray:
    """Return `count` places in `labels`, with replacement: a label by its share, then one of its clips."""
    weights = np.array([shares[label] for label in labels])
    for label in np.unique(labels):
        weights[labels == label] /= (labels == label).sum()
    return generator.choice(len(labels), count, p=weights / weights.sum())
