"""The report of strangers from answers that are made up, where every figure is known."""

import numpy as np
import pytest

from convert.config import ConvertConfig
from convert.strangers import Answers, report, table
from train.rooms.heard_before import JUDGED, SETTINGS
from train.study.folds import speakers_fold, unseen_fold

LABELS = ["angry", "happy", "sad"]
COUNT = 600


def answers(
    fold: str, corpus: str, *, right: float, sure: float, labels: int = 3, nearly: float = 0.5, seed: int = 0
) -> Answers:
    """Answers of which a share is right, each as sure as the next; the others say the label after the right one, which
    has a share `nearly` of what is left."""
    rng = np.random.default_rng(seed)
    probs, truth = {}, {}
    for setting in SETTINGS if fold.startswith("unseen") else (JUDGED,):
        truth[setting] = np.arange(COUNT) % labels
        said = np.where(rng.random(COUNT) < right, truth[setting], (truth[setting] + 1) % 3)
        probs[setting] = np.full((COUNT, 3), (1 - nearly) * (1 - sure), np.float32)
        probs[setting][np.arange(COUNT), truth[setting]] = nearly * (1 - sure)
        probs[setting][np.arange(COUNT), said] = sure
        probs[setting] /= probs[setting].sum(axis=1, keepdims=True)
    return Answers(
        fold=fold, corpus=corpus, seed=0, labels=LABELS, file_bytes=50_000 + seed, probs=probs, truth=truth
    )


@pytest.fixture(scope="module")
def found():
    return report(
        [
            answers(unseen_fold("one"), "one", right=0.6, sure=0.9, seed=1),
            answers(unseen_fold("two"), "two", right=0.6, sure=0.9, seed=2),
            answers(unseen_fold("pair"), "pair", right=0.6, sure=0.9, labels=2, nearly=0.6, seed=3),
            answers(speakers_fold("one", ["a"], ["b"], both=True), "one", right=0.8, sure=0.9, seed=4),
            answers(speakers_fold("one", ["b"], ["a"], both=True), "one", right=0.6, sure=0.9, seed=5),
        ],
        ConvertConfig(abstain_precision=0.55),
    )


def test_uar_is_over_the_labels_that_a_corpus_has(found):
    one, pair = found["unseen"]["one"], found["unseen"]["pair"]
    assert one["uar"][str(JUDGED)] == pytest.approx(0.6, abs=0.05)
    assert set(one["uar"]) == {str(setting) for setting in SETTINGS}
    # Where `sad` is said to a corpus without it, it does not count: what is left decides.
    assert pair["uar"][str(JUDGED)] > pair["uar_over_all_labels"] + 0.1


def test_it_is_as_sure_as_the_other_corpora_allow(found):
    """Nine in ten sure and six in ten right: calibrated on another that is alike, it is six in ten sure."""
    assert found["unseen"]["one"]["ece"] < 0.12  # 0.3 as it is
    assert found["calibration"]["temperature"] > 2
    assert found["unseen"]["one"]["right_where_said"] == pytest.approx(0.6, abs=0.05)


def test_voices_of_a_known_corpus_are_pooled_over_folds(found):
    voices = found["voices"]["one"]
    assert voices["folds"] == 2
    assert voices["uar"] == pytest.approx(0.7, abs=0.05)
    assert set(voices["recall"]) == set(LABELS)


def test_of_labels_with_moods_the_mood_is_said_where_it_is_right_often_enough(found):
    one = found["unseen"]["one"]
    assert found["calibration"]["mood_enter"] is not None or "mood_said" not in one
    lenient = report(
        [answers(unseen_fold(name), name, right=0.7, sure=0.9, seed=seed) for seed, name in enumerate(("a", "b"))],
        ConvertConfig(abstain_precision=0.6),
    )
    assert lenient["calibration"]["mood_enter"] is not None
    assert lenient["unseen"]["a"]["mood_said"] == pytest.approx(1.0)
    assert lenient["unseen"]["a"]["mood_right_where_said"] == pytest.approx(0.7, abs=0.05)


def test_the_table_says_it_all(found):
    text = table(found)
    assert "| 1 voice, neutral, 20 heard | " in text
    assert text.count("\n| ") >= len(SETTINGS) + 4 + 2
    assert "angry" in text
