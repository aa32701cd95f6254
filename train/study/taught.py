"""The protocol `taught`: rooms of strangers who give the sensor lessons, and are heard again.

In every room the same clips are tested whatever was taught; what the room said before, unlabelled, is drawn from the
others, seven of ten of them neutral.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from train.data.clip import Clip
from train.rooms.heard_before import JUDGED, MAIN_SHARE
from train.study.robustness import CLEAN

DRAWS = 5
LESSONS = (0, 1, 2, 3, 5, 10)  # per label, of all voices in a room together
_LEAST_TESTED = 2  # clips of each label
_LEAST_ROOMS = 8  # of two voices and more: few voices come together in several


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A kind of teaching. lessons: per label, how many. wrong: the share of lessons with another label. two: only two
    labels are taught. said_in, heard_in: conditions of the lessons, and of what is tested (and was heard before)."""

    name: str
    lessons: Sequence[int] = (0, 3, 5)
    voices: int = 1
    wrong: float = 0.0
    two: bool = False
    said_in: str = CLEAN
    heard_in: str = CLEAN


SCENARIOS = (
    Scenario(name="1 voice", lessons=LESSONS),
    Scenario(name="2 voices", voices=2, lessons=LESSONS),
    Scenario(name="4 voices", voices=4, lessons=LESSONS),
    Scenario(name="only two labels taught", two=True),
    Scenario(name="10 % of lessons wrong", wrong=0.1),
    Scenario(name="20 % of lessons wrong", wrong=0.2),
    Scenario(name="taught clean, heard at 10 dB", heard_in="10 dB"),
    Scenario(name="taught clean, heard from 3 m", heard_in="3 m"),
    Scenario(name="taught at 10 dB, heard clean", said_in="10 dB"),
    Scenario(name="taught from 3 m, heard clean", said_in="3 m"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exam:
    """One room, taught so much. voice: whose room it is. past, lessons, tested: int, places in a list of clips; called:
    labels of the lessons as they were given. lessons_per_label: as the scenario has it."""

    voice: str
    lessons_per_label: int
    past: np.ndarray
    lessons: np.ndarray
    called: list[str]
    tested: np.ndarray


def some_of(clips: Sequence[Clip], *, voices: int | None, each: int | None) -> list[Clip]:
    """Return the clips of so many voices of each corpus, evenly spread by name, and of each label so many of each."""
    heard = sorted({(clip.corpus, clip.speaker) for clip in clips})
    chosen = set()
    for corpus in {corpus for corpus, _ in heard}:
        mine = [voice for voice in heard if voice[0] == corpus]
        count = min(voices or len(mine), len(mine))
        chosen |= {mine[place] for place in np.linspace(0, len(mine) - 1, count).astype(int)}
    kept, counts = [], Counter()
    for number in np.random.default_rng(0).permutation(len(clips)):
        clip = clips[number]
        key = clip.corpus, clip.speaker, clip.label
        if key[:2] in chosen and (each is None or counts[key] < each):
            counts[key] += 1
            kept.append(number)
    return [clips[number] for number in sorted(kept)]


def exams(clips: Sequence[Clip], scenario: Scenario) -> Iterator[Exam]:
    """Yield the exams of one corpus's clips, always the same; a room of few clips has no exam of many lessons."""
    rng = np.random.default_rng(1)
    speakers, labels = np.array([clip.speaker for clip in clips]), np.array([clip.label for clip in clips])
    names = np.unique(speakers)
    rooms = -(-len(names) // scenario.voices)
    for _ in range(max(1, -(-_LEAST_ROOMS // rooms)) if scenario.voices > 1 else 1):
        order = rng.permutation(names)
        for start in range(0, len(names), scenario.voices):
            group = np.take(order, range(start, start + min(scenario.voices, len(names))), mode="wrap")
            own = np.flatnonzero(np.isin(speakers, group))
            for _ in range(DRAWS):
                yield from _drawn("+".join(sorted(group)), own, labels, scenario, rng)


def _drawn(
    voice: str, own: np.ndarray, labels: np.ndarray, scenario: Scenario, rng: np.random.Generator
) -> Iterator[Exam]:
    by_label = {label: rng.permutation(own[labels[own] == label]) for label in np.unique(labels[own])}
    scarcest = min(map(len, by_label.values()))
    possible = [count for count in scenario.lessons if count + _LEAST_TESTED <= scarcest]
    most = max(possible)
    if not most:
        return
    spare = np.concatenate([mine[:most] for mine in by_label.values()])
    tested = np.concatenate([mine[most:] for mine in by_label.values()])
    shares = {label: MAIN_SHARE if label == "neutral" else (1 - MAIN_SHARE) / (len(by_label) - 1) for label in by_label}
    weights = np.array([shares[label] / most for label in labels[spare]])
    past = rng.choice(spare, JUDGED.heard, p=weights / weights.sum())
    taught = rng.choice(list(by_label), 2, replace=False) if scenario.two else list(by_label)
    for count in possible:
        lessons = np.concatenate([by_label[label][:count] for label in taught])
        called = [str(label) for label in labels[lessons]]
        for place in rng.permutation(len(lessons))[: round(scenario.wrong * len(lessons))]:
            called[place] = str(rng.choice([label for label in by_label if label != called[place]]))
        yield Exam(voice=voice, lessons_per_label=count, past=past, lessons=lessons, called=called, tested=tested)
