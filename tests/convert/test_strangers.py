"""The report of strangers from answers that are made up, where every figure is known."""

import msgspec
import numpy as np
import pytest

from convert.config import ConvertConfig
from convert.report.strangers import Answers, report
from convert.report.strangers_table import table
from train.data.clip import Clip
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
        ConvertConfig(strangers_coverage=0.9),
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


def test_arousal_goes_with_that_of_the_true_label(found):
    """Six in ten are right; of those that are not, angry and happy are told apart from sad as often as not."""
    assert 0.2 < found["unseen"]["one"]["arousal"] < 0.8
    right = report(
        [answers(unseen_fold(name), name, right=1.0, sure=0.98, seed=seed) for seed, name in enumerate(("a", "b"))],
        ConvertConfig(),
    )
    assert right["unseen"]["a"]["arousal"] > 0.99


def test_all_corpora_together_each_counting_alike(found):
    each = found["unseen"].values()
    assert found["pooled"]["said"] == pytest.approx(np.mean([one["said"] for one in each]))
    assert found["pooled"]["right_where_said"] == pytest.approx(
        sum(one["said"] * (one["right_where_said"] or 0) for one in each) / sum(one["said"] for one in each)
    )


def test_the_ece_of_all_answers_together():
    """Each is as sure as the other is right, by as much too sure of one as too little of the other: no two answers of
    different corpora share a bin in which that would cancel."""
    two = [answers(unseen_fold(name), name, right=right, sure=0.7, seed=seed)
           for seed, (name, right) in enumerate([("a", 0.85), ("b", 0.55)])]  # fmt: skip
    made = report(two, ConvertConfig())
    each = [one["ece"] for one in made["unseen"].values()]
    assert min(each) > 0.2
    assert made["pooled"]["ece"] == pytest.approx(max(each), abs=0.1)
    twice = [msgspec.structs.replace(one, truth=two[0].truth, probs=two[0].probs) for one in two]
    alike = report(twice, ConvertConfig())
    assert alike["pooled"]["ece"] == pytest.approx(alike["unseen"]["a"]["ece"])
    assert f"the ECE of all answers together is {alike['pooled']['ece']:.3f}" in table(alike)


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
        ConvertConfig(),
    )
    assert lenient["calibration"]["mood_enter"] is not None
    assert lenient["unseen"]["a"]["mood_said"] == pytest.approx(1.0)
    assert lenient["unseen"]["a"]["mood_right_where_said"] == pytest.approx(0.7, abs=0.05)


def test_several_trainings_count_as_one_by_their_mean():
    """Each is calibrated by the other corpora of its own training."""
    trainings = [
        answers(unseen_fold(name), name, right=right, sure=0.9, seed=number)
        for number, (name, right) in enumerate([("a", 0.5), ("b", 0.6), ("a", 0.7), ("b", 0.6)])
    ]
    trainings = [msgspec.structs.replace(one, seed=place // 2) for place, one in enumerate(trainings)]
    made = report(trainings, ConvertConfig())["unseen"]["a"]
    assert made["seeds"] == 2
    assert made["clips"] == COUNT
    first, second = (report(trainings[i : i + 2], ConvertConfig())["unseen"]["a"] for i in (0, 2))
    uars = [one["uar"][str(JUDGED)] for one in (first, second)]
    assert made["uar"][str(JUDGED)] == pytest.approx(np.mean(uars))
    assert made["uar_deviation"] == pytest.approx(abs(uars[0] - uars[1]) / 2**0.5)
    assert made["ece"] == pytest.approx((first["ece"] + second["ece"]) / 2)
    assert first["uar_deviation"] is None


def test_arousal_that_is_the_level_s_is_told_from_what_is_not():
    chance = np.random.default_rng(0)
    made = answers(unseen_fold("a"), "a", right=0.8, sure=0.9, seed=1)
    excited = np.isin(made.truth[JUDGED], [0, 1]).astype(float)  # angry, happy
    other = answers(unseen_fold("b"), "b", right=0.6, sure=0.9, seed=2)
    found = {}
    for name, level in (("level", made.probs[JUDGED][:, :2].sum(axis=1)), ("noise", chance.normal(size=COUNT))):
        one = msgspec.structs.replace(made, levels=level + 0.001 * chance.normal(size=COUNT) + 0 * excited)
        found[name] = report([one, other], ConvertConfig())["unseen"]["a"]
    assert abs(found["level"]["arousal_beyond_level"]) < 0.25 < found["level"]["arousal_of_level"]
    assert found["noise"]["arousal_beyond_level"] == pytest.approx(found["noise"]["arousal"], abs=0.02)
    assert abs(found["noise"]["arousal_of_level"]) < 0.1


def test_conditions_and_parts_are_told_where_they_were_measured():
    clips = [
        Clip(path=f"{number}.wav", corpus="a", speaker=str(number % 4), label=LABELS[number % 3],
             sex="fm"[number % 2], votes={"angry": 1.0, "sad": 1.0})
        for number in range(COUNT)
    ]  # fmt: skip
    under = {"conditions": {"clean": 0.61, "3 m": 0.52}, "moved": {"0": 0.43, "20": 0.6}}
    one = msgspec.structs.replace(
        answers(unseen_fold("a"), "a", right=0.6, sure=0.9, seed=1), clips=clips, levels=np.arange(COUNT), under=under
    )
    other = msgspec.structs.replace(answers(unseen_fold("b"), "b", right=0.6, sure=0.9, seed=2), under=under)
    found = report([one, other], ConvertConfig())
    assert found["unseen"]["a"]["by"]["sex"]["women"]["clips"] == COUNT // 2
    assert found["unseen"]["a"]["listener"]["uar"] == pytest.approx(1 / 3)
    text = table(found)
    assert "| of some clips, 3 m | 52.0 | 52.0 |" in text
    assert "| by another microphone, 0 utterances after the change | 43.0 | 43.0 |" in text
    assert "| a | sex | women" in text
    assert "| a | 33.3 | " in text


def test_the_table_says_it_all(found):
    text = table(found)
    assert "| 1 voice, neutral, 20 heard | " in text
    assert text.count("\n| ") >= len(SETTINGS) + 4 + 2
    assert "angry" in text
