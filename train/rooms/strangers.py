"""The yardstick of strangers: voices of corpora that nobody trained on, heard in rooms, by models that need no GPU."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from edge.errors import InputError
from edge.features.baseline import Baseline, Prior
from train.data.clip import Clip
from train.fitting import metrics
from train.rooms.heard_before import SETTINGS, TRAINED_MOODS, Room, Setting, judged, judged_rooms, rooms
from train.rooms.lessons import settle, weights_of
from train.rooms.prior import prior_of

_TRAINED_HEARD = (5, 20, 150)
_TRAINED_TIMES = 3  # every clip is heard so often, each time in another room
_STRENGTH = 5.0  # of the evidence of all clips beside the penalty on weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """columns: which functionals it sees. knows_rooms: whether they are heard against the room or the training."""

    columns: Sequence[int]
    knows_rooms: bool
    model: Callable[[int], Any]


def contestants(names: Sequence[str]) -> dict[str, Contestant]:
    """Return the table's rows: MFCC statistics alone, what they lack alone, and both, by `names` of functionals."""
    of_mfcc = [place for place, name in enumerate(names) if name.startswith("mfcc_")]
    beside = [place for place, name in enumerate(names) if not name.startswith("mfcc_")]
    both = range(len(names))
    return {
        "MFCC, linear, as they are": Contestant(columns=of_mfcc, knows_rooms=False, model=linear),
        "MFCC, linear": Contestant(columns=of_mfcc, knows_rooms=True, model=linear),
        "beside MFCC, linear": Contestant(columns=beside, knows_rooms=True, model=linear),
        "both, linear, as they are": Contestant(columns=both, knows_rooms=False, model=linear),
        "both, linear": Contestant(columns=both, knows_rooms=True, model=linear),
        "both, perceptron": Contestant(columns=both, knows_rooms=True, model=perceptron),
    }


def linear(rows: int) -> LogisticRegression:
    """Return logistic regression for so many rows, which are of mean weight 1."""
    return LogisticRegression(C=_STRENGTH / rows, max_iter=100)


def perceptron(rows: int) -> MLPClassifier:
    """Return a perceptron with one layer of 64."""
    return MLPClassifier((64,), alpha=3.0, batch_size=min(256, rows), max_iter=12, random_state=0)


def measure(
    contestants: dict[str, Contestant],
    clips: Sequence[Clip],
    functionals: np.ndarray,
    *,
    never_trained: Sequence[str] = (),
    settings: Sequence[Setting] = SETTINGS,
    tell: Callable[[int, int, str], None] = lambda done, total, note: None,
) -> dict[str, dict[str, dict[str, float]]]:
    """Return UAR by contestant, setting and corpus, each corpus judged by models of the others'.

    UAR is over the labels that a corpus has, and no other is answered. All contestants meet the same rooms.
    Raises InputError where fewer than two corpora may be trained on.
    """
    corpora = list(dict.fromkeys(clip.corpus for clip in clips))
    truth = np.array([clip.label for clip in clips])
    if len([corpus for corpus in corpora if corpus not in never_trained]) < 2:
        raise InputError("strangers: needs two corpora or more to train on (one is heard by a model of the others)")
    found = {name: {str(setting): {} for setting in settings} for name in contestants}
    for done, corpus in enumerate(corpora):
        training = [i for i, clip in enumerate(clips) if clip.corpus not in (corpus, *never_trained)]
        strange = [i for i, clip in enumerate(clips) if clip.corpus == corpus]
        prior = prior_of(clips, training, [functionals])
        lessons = list(_training_rooms(clips, training))
        exams = {setting: list(judged_rooms(clips, strange, setting)) for setting in settings}
        learned = judged(lessons)
        weights = weights_of(clips, learned)
        for knows_rooms in (False, True):
            taught = _heard(prior, functionals, lessons, knows_rooms)
            asked = {setting: _heard(prior, functionals, exam, knows_rooms) for setting, exam in exams.items()}
            for name, contestant in contestants.items():
                if contestant.knows_rooms != knows_rooms:
                    continue
                tell(done, len(corpora), f"{corpus}: {name}")
                model = contestant.model(len(taught))
                with warnings.catch_warnings():
                    # A perceptron stops after a few rounds, which is what keeps it from learning voices by heart.
                    warnings.simplefilter("ignore", ConvergenceWarning)
                    model.fit(taught[:, contestant.columns], truth[learned], sample_weight=weights)
                for setting, exam in exams.items():
                    right = truth[judged(exam)]
                    said = _said(model, asked[setting][:, contestant.columns], np.unique(right))
                    found[name][str(setting)][corpus] = metrics.uar(right, said)
    tell(len(corpora), len(corpora), "")
    return found


def _training_rooms(clips: Sequence[Clip], training: Sequence[int]) -> list[Room]:
    """Return rooms in which every clip is heard a few times, against pasts of several lengths and moods."""
    generator = np.random.default_rng(0)
    found = []
    for corpus in sorted({clips[index].corpus for index in training}):
        mine = [index for index in training if clips[index].corpus == corpus]
        for _ in range(_TRAINED_TIMES):
            setting = Setting(
                voices=1,
                moods=str(generator.choice(TRAINED_MOODS)),
                heard=int(generator.choice(_TRAINED_HEARD)),
            )
            found += rooms(clips, mine, setting, generator, most_mixes=1)
    return found


def _heard(prior: Prior, functionals: np.ndarray, among: Sequence[Room], knows_rooms: bool) -> np.ndarray:
    """Return the judged clips' functionals against each room's past, by the sensor's own baseline, or against the
    training's alone: float32 (n, functionals)."""
    baseline, parts = Baseline(prior), []
    for room in among:
        settle(baseline, functionals[room.past] if knows_rooms else ())
        parts.append(baseline.relative(functionals[room.judged]))
    return np.concatenate(parts)


def _said(model: Any, asked: np.ndarray, open_labels: np.ndarray) -> np.ndarray:
    """Return a label for each row, of those that are open."""
    is_open = np.isin(model.classes_, open_labels)
    return model.classes_[is_open][model.predict_proba(asked)[:, is_open].argmax(axis=1)]
