"""The figures of the yardsticks (convert/yardsticks.py), from what the artifacts said; and their tables."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from scipy.special import softmax

from convert.verification.calibrate import calibrate
from train.data.clip import Clip
from train.fitting import metrics
from train.pages.tables import markdown
from train.study.folds import group_of, is_unseen
from train.study.listener import listener

LEAST_CLIPS = 20  # of a part: fewer say nothing
AGES = ((0, 30, "under 30"), (30, 50, "30 to 49"), (50, 200, "50 and older"))
SEXES = {"f": "women", "m": "men"}
INTENSITIES = ("low", "medium", "high", "normal", "strong")
THIRDS = ("quietest third", "middle third", "loudest third")


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """What one artifact said to its fold's test side, uncalibrated: probabilities (clips, labels)."""

    fold: str
    labels: list[str]
    clips: list[Clip]
    probs: np.ndarray
    file_bytes: int

    @property
    def truth(self) -> np.ndarray:
        """Labels as indices, int (clips,)."""
        return np.array([self.labels.index(clip.label) for clip in self.clips])

    @property
    def yardstick(self) -> str:
        """What this fold belongs to: `unseen:TESS`, `TESS`."""
        return self.fold if is_unseen(self.fold) else group_of(self.fold) or self.fold


def report(answers: Sequence[Answers], loudness: Mapping[str, float], abstain_precision: float) -> dict[str, Any]:
    """Return the figures by yardstick, the folds of one together.

    loudness: of a clip by its path, in dBFS. Temperature and threshold of a fold come from the other folds of its
    kind (corpora unseen, or voices), as they would for a model that is to be used somewhere else.
    """
    found: dict[str, list[Answers]] = defaultdict(list)
    for one in answers:
        found[one.yardstick].append(one)
    return {
        "labels": answers[0].labels,
        "file_bytes": max(one.file_bytes for one in answers),
        "yardsticks": {
            name: _figures(members, [_calibrated(one, answers, abstain_precision) for one in members], loudness)
            for name, members in found.items()
        },
    }


def _calibrated(one: Answers, answers: Sequence[Answers], abstain_precision: float) -> tuple[np.ndarray, float] | None:
    """Return a fold's probabilities and the least of them at which a label is said; None where no other fold tells."""
    others = [other for other in answers if is_unseen(other.fold) == is_unseen(one.fold) and other is not one]
    if not others:
        return None
    truth = np.concatenate([other.truth for other in others])
    made = calibrate(truth, np.concatenate([logits(other.probs) for other in others]),
                     abstain_precision=abstain_precision)  # fmt: skip
    return softmax(logits(one.probs) / made.temperature, axis=1), made.enter


def _figures(
    members: Sequence[Answers], calibrated: Sequence[tuple[np.ndarray, float] | None], loudness: Mapping[str, float]
) -> dict[str, Any]:
    clips = [clip for one in members for clip in one.clips]
    truth, probs = (np.concatenate([getattr(one, name) for one in members]) for name in ("truth", "probs"))
    labels = members[0].labels
    had = np.isin(np.arange(len(labels)), truth)
    said = np.where(had, probs, -1.0).argmax(axis=1)  # restricted to the labels of the corpus
    speakers = np.array([clip.speaker for clip in clips])
    groups = metrics.drawn_over(speakers)
    found: dict[str, Any] = {
        "folds": len(members),
        "clips": len(clips),
        "speakers": len(set(speakers)),
        "labels": [label for label, there in zip(labels, had, strict=True) if there],
        "uar": metrics.uar(truth, said),
        "uar_interval": metrics.interval(truth, said, metrics.uar, groups=groups),
        "interval_over": "clips" if groups is None else "speakers",
        "uar_over_all_labels": metrics.uar(truth, probs.argmax(axis=1)),
        "recall": {labels[label]: float((said[truth == label] == label).mean()) for label in np.unique(truth)},
        "by": _by_way(members, truth, said) | by_part(clips, truth, said, [loudness[clip.path] for clip in clips]),
        "listener": listener(clips, labels, truth, said),
    }
    if all(calibrated):
        sure = np.concatenate([probs for probs, _ in calibrated])
        enter = np.concatenate([np.full(len(probs), enter) for probs, enter in calibrated])
        told, right = sure.max(axis=1) >= enter, sure.argmax(axis=1) == truth
        found |= {
            "ece": metrics.ece(truth, sure),
            "ece_uncalibrated": metrics.ece(truth, probs),
            "said": float(told.mean()),
            "right_where_said": float(right[told].mean()) if told.any() else None,
        }
    return found


def _by_way(members: Sequence[Answers], truth: np.ndarray, said: np.ndarray) -> dict[str, Any]:
    """Return UAR and clips of each fold where two voices train and are tested in turn."""
    found, last = {}, 0
    for one in members:
        those, last = slice(last, last + len(one.clips)), last + len(one.clips)
        if "->" in one.fold:
            found[one.fold.partition(":")[2]] = {
                "clips": len(one.clips), "uar": metrics.uar(truth[those], said[those])
            }  # fmt: skip
    return {"way": found} if found else {}


def by_part(
    clips: Sequence[Clip], truth: np.ndarray, said: np.ndarray, levels: Sequence[float]
) -> dict[str, dict[str, dict[str, float]]]:
    """Return UAR and clips of parts: by sex, age, intensity, and level of the clip among those of its corpus."""
    third = np.searchsorted(np.percentile(levels, [100 / 3, 200 / 3]), levels)
    parts = {
        "sex": (SEXES.values(), [SEXES.get(clip.sex, "") for clip in clips]),
        "age": ([name for _, _, name in AGES], [_age(clip.age) for clip in clips]),
        "intensity": (INTENSITIES, [clip.intensity for clip in clips]),
        "level": (THIRDS, [THIRDS[place] for place in third]),
    }
    found: dict[str, Any] = {}
    for kind, (names, of) in parts.items():
        for part in names:
            those = np.array([one == part for one in of])
            if LEAST_CLIPS <= those.sum() < len(clips):
                uar = metrics.uar(truth[those], said[those])
                found.setdefault(kind, {})[part] = {"clips": int(those.sum()), "uar": uar}
    return found


def _age(years: str) -> str:
    return next((name for low, high, name in AGES if years.isdecimal() and low <= int(years) < high), "")


def logits(probs: np.ndarray) -> np.ndarray:
    """Return what gives these probabilities by softmax: float64."""
    return np.log(np.maximum(probs.astype(np.float64), 1e-9))


def table(found: dict[str, Any]) -> str:
    """Return the report as Markdown."""
    rows, parts, listeners = [], [], []
    for name, one in found["yardsticks"].items():
        low, high = one["uar_interval"]
        rows.append([
            name, str(one["clips"]), str(one["speakers"]), _percent(1 / len(one["labels"])),
            f"{_percent(one['uar'])} ({100 * low:.0f} to {100 * high:.0f})", _percent(one["uar_over_all_labels"]),
            "-" if "ece" not in one else f"{one['ece']:.3f}", _percent(one.get("said")),
            _percent(one.get("right_where_said")),
        ])  # fmt: skip
        for kind, of in one["by"].items():
            cells = "; ".join(f"{part} {_percent(row['uar'])} ({row['clips']})" for part, row in of.items())
            parts.append([name, kind, cells])
        if beside := one["listener"]:
            listeners.append([name, str(beside["clips"]), _percent(beside["uar"]), _percent(beside["model_uar"])])
    hours = found["core_hours"]["trainings"]
    form = "the fast form, a quarter of the clips" if found["fast"] else "the whole form"
    lines = [
        "# What a recipe is worth to voices and corpora that it has not heard\n",
        f"`{found['network']}` by the recipe `{found['recipe']}`, {form}: {len(found['epochs'])} trainings in "
        f"{hours:g} core hours, as int8 artifacts through the sensor's own code, on clean clips.\n",
        "*unseen*: nothing of that corpus was trained on; else other voices of it were. UAR in %, over the labels of "
        "the corpus, the model restricted to them (95 % over speakers, or over clips where there are few), and over "
        "all of the model's. Temperature and threshold, on which ECE and what is said depend, come from the other "
        "unseen corpora (or voices).\n",
        markdown(["tested", "clips", "voices", "chance", "UAR", "all labels open", "ECE", "a label is said, %",
                  "right where said, %"], rows),
        "Parts of them, UAR in % over the same labels (clips):\n",
        markdown(["tested", "by", "parts"], parts, words=3),
    ]  # fmt: skip
    if listeners:
        lines += [
            "Beside a single listener, who hears the voice alone (the expectation over those who were asked):\n",
            markdown(["tested", "clips", "listener", "model"], listeners),
        ]
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"
