"""The figures of what networks of utterances are worth to strangers, from what artifacts said."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from scipy.special import softmax

from convert.config import ConvertConfig
from convert.report.figures import arousal
from convert.report.yardsticks import by_part, logits
from convert.verification.calibrate import Calibration, calibrate_strangers, grouped, threshold
from edge.hearing.affect import COORDINATES
from train.data.clip import Clip
from train.fitting import metrics
from train.rooms.heard_before import JUDGED, Setting, known_rooms
from train.study.folds import group_of, is_unseen
from train.study.listener import listener


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """What one artifact said to its fold's test side: by setting, probabilities (n, labels) and truth (n,).

    clips, levels: who was judged in rooms as JUDGED has them, and how loud, mel energy of any unit (n,). under: see
    `train.study.conditions.worth`.
    """

    fold: str
    corpus: str
    seed: int
    labels: list[str]
    file_bytes: int
    probs: dict[Setting, np.ndarray]
    truth: dict[Setting, np.ndarray]
    clips: list[Clip] = []
    levels: np.ndarray | None = None
    under: dict[str, dict[str, float]] = {}

    @property
    def had(self) -> np.ndarray:
        """Which labels the corpus has: bool (labels,)."""
        return np.isin(np.arange(len(self.labels)), self.truth[JUDGED])


def report(answers: Sequence[Answers], config: ConvertConfig) -> dict[str, Any]:
    """Return the figures of corpora that nobody trained on, and of voices whose corpus was."""
    unseen = [one for one in answers if is_unseen(one.fold)]
    voices: dict[str, list[Answers]] = defaultdict(list)
    for one in answers:
        if not is_unseen(one.fold):
            voices[group_of(one.fold) or one.fold].append(one)
    by_seed: dict[str, list[dict[str, Any]]] = defaultdict(list)
    sures = []
    for one in unseen:
        others = [other for other in unseen if other.corpus != one.corpus and other.seed == one.seed]
        calibration = _calibration(others, config)
        sures.append(softmax(logits(one.probs[JUDGED]) / calibration.temperature, axis=1))
        by_seed[one.corpus].append(_unseen(one, sures[-1], calibration, config))
    strange = {corpus: _over_seeds(seeds) for corpus, seeds in by_seed.items()}
    return {
        "labels": answers[0].labels,
        "unseen": strange,
        "pooled": _pooled(list(strange.values())) | {"ece": _pooled_ece([one.truth[JUDGED] for one in unseen], sures)},
        "voices": {corpus: _voices(members) for corpus, members in voices.items()},
        "calibration": msgspec.to_builtins(_calibration(unseen, config)),
        "file_bytes": max(one.file_bytes for one in answers),
    }  # fmt: skip


def _calibration(answers: Sequence[Answers], config: ConvertConfig) -> Calibration:
    """Return temperature and thresholds, those of moods too, from what was said to corpora that nobody trained on."""
    found, truth, probs = calibrate_strangers(_known(answers), coverage=config.strangers_coverage)
    labels = answers[0].labels
    enter = [threshold(*grouped(truth, probs, groups), config.mood_precision) if groups else None
             for groups in (_moods(labels, config), _arousals(labels))]  # fmt: skip
    mood, arousal = (None if one is None else one[0] for one in enter)
    return msgspec.structs.replace(found, mood_enter=mood, arousal_enter=arousal)


def _moods(labels: list[str], config: ConvertConfig) -> list[list[int]]:
    return [[labels.index(label) for label in members] for members in config.moods_of(labels).values()]


def _arousals(labels: list[str]) -> list[list[int]]:
    """Return the labels that are excited, and those that are calm; none where not all have a place in core affect."""
    if any(label not in COORDINATES for label in labels):
        return []
    excited = [COORDINATES[label][1] > 0 for label in labels]
    return [[number for number, one in enumerate(excited) if one is which] for which in (True, False)]


def _unseen(one: Answers, sure: np.ndarray, calibration: Calibration, config: ConvertConfig) -> dict[str, Any]:
    truth, said = one.truth[JUDGED], sure.max(axis=1) >= calibration.enter
    found = {
        "clips": len(truth),
        "uar": {str(setting): uar_over(one.truth[setting], probs, one.had) for setting, probs in one.probs.items()},
        "uar_over_all_labels": uar_over(truth, one.probs[JUDGED], np.ones(len(one.labels), bool)),
        "ece": metrics.ece(truth, sure),
        **_arousal(one, truth, sure),
        "said": float(said.mean()),
        "right_where_said": _right(truth[said], sure[said]),
        **one.under,
    }
    if one.clips:
        answered = np.where(one.had, one.probs[JUDGED], -1.0).argmax(axis=1)
        found["by"] = by_part(one.clips, truth, answered, one.levels)
        found["listener"] = listener(one.clips, one.labels, truth, answered)
    if (moods := _moods(one.labels, config)) and calibration.mood_enter is not None:
        truth, sure = grouped(truth, sure, moods)
        said |= sure.max(axis=1) >= calibration.mood_enter  # a label that is said has its mood
        found |= {"mood_said": float(said.mean()), "mood_right_where_said": _right(truth[said], sure[said])}
    return found


def _over_seeds(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the mean of the same figures from several trainings, beside the deviation of UAR."""
    uars = [one["uar"][str(JUDGED)] for one in found]
    return _mean(found) | {"seeds": len(found), "uar_deviation": float(np.std(uars, ddof=1)) if len(uars) > 1 else None}


def _mean(values: list[Any]) -> Any:
    if isinstance(values[0], dict):
        return {key: _mean([value[key] for value in values]) for key in values[0]}
    known = [value for value in values if value is not None]
    return known[0] if known and isinstance(known[0], int) else float(np.mean(known)) if known else None


def _arousal(one: Answers, truth: np.ndarray, sure: np.ndarray) -> dict[str, float | None]:
    """Return how the published arousal goes with that of the true label; and how much of that is not the level's."""
    found = {"arousal": arousal(one.labels, truth, sure)}
    if one.levels is None or found["arousal"] is None:
        return found
    table = np.array([COORDINATES[label][1] for label in one.labels])
    (_, heard_true, heard_level), (*_, level_true), _ = np.corrcoef([sure @ table, table[truth], one.levels])
    beyond = (heard_true - heard_level * level_true) / np.sqrt((1 - heard_level**2) * (1 - level_true**2))
    return found | {"arousal_of_level": float(level_true), "arousal_beyond_level": float(beyond)}


def _pooled(strange: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return how much is said and right of all corpora together, each counting alike."""
    found = {}
    for name in ("said", "mood_said"):
        said = [one.get(name, 0.0) for one in strange]
        right = f"{name.removesuffix('said')}right_where_said"
        if any(said):
            found[name] = float(np.mean(said))
            found[right] = sum(share * (one.get(right) or 0.0) for share, one in zip(said, strange, strict=True))
            found[right] /= sum(said)
    return found


def _pooled_ece(truths: Sequence[np.ndarray], sures: Sequence[np.ndarray]) -> float | None:
    """Return the calibration error of all answers together, in which each corpus weighs alike."""
    if not truths:
        return None
    weights = np.concatenate([np.full(len(truth), 1 / len(truth)) for truth in truths])
    return metrics.ece(np.concatenate(truths), np.concatenate(sures), weights=weights)


def _right(truth: np.ndarray, probs: np.ndarray) -> float | None:
    return float((probs.argmax(axis=1) == truth).mean()) if len(truth) else None


def _voices(members: Sequence[Answers]) -> dict[str, Any]:
    truth = np.concatenate([one.truth[JUDGED] for one in members])
    probs = np.concatenate([one.probs[JUDGED] for one in members])
    had = np.isin(np.arange(len(members[0].labels)), truth)
    said = np.where(had, probs, -1.0).argmax(axis=1)
    recall = {members[0].labels[label]: float((said[truth == label] == label).mean()) for label in np.unique(truth)}
    return {"folds": len(members), "uar": uar_over(truth, probs, had), "recall": recall}


def _known(answers: Sequence[Answers]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return each corpus's truth and logits in rooms of one voice, however well they are known."""
    return [
        (
            np.concatenate([one.truth[setting] for setting in known_rooms()]),
            logits(np.concatenate([one.probs[setting] for setting in known_rooms()])),
        )
        for one in answers
    ]


def uar_over(truth: np.ndarray, probs: np.ndarray, had: np.ndarray) -> float:
    """Return UAR where only the labels that were `had`, bool (labels,), may be answered."""
    return metrics.uar(truth, np.where(had, probs, -1.0).argmax(axis=1))
