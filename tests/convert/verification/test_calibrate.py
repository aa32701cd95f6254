"""Calibration on answers whose confidence is known to be wrong by a factor."""

import itertools

import numpy as np
import pytest
from scipy.special import softmax

from convert.verification.calibrate import (
    ENTER_RANGE,
    MIN_MISTAKES,
    MIN_SAID,
    calibrate,
    calibrate_strangers,
    reliability,
    threshold,
)
from train.fitting import metrics


def answers(factor: float, count: int = 4_000) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from the softmax of logits, and the logits made `factor` times too sure."""
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((count, 7)) * 1.5
    truth = np.array([rng.choice(7, p=row) for row in softmax(logits, axis=1)])
    return truth, logits * factor


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_factor_is_found_and_divided_out(factor):
    found = calibrate(*answers(factor), abstain_precision=0.7)
    assert found.temperature == pytest.approx(factor, rel=0.06)
    assert found.ece_after < 0.03
    assert found.ece_after < found.ece_before or factor == 1.0
    assert found.exit < found.enter


def test_enter_is_the_lowest_threshold_with_the_precision_asked_for():
    truth, logits = answers(1.0)
    probs = softmax(logits, axis=1)
    enter, precision, coverage = threshold(truth, probs, 0.8)
    right = probs.argmax(axis=1) == truth
    said = probs.max(axis=1) >= enter
    assert precision == right[said].mean() >= 0.8
    assert coverage == said.mean()
    assert right[probs.max(axis=1) >= enter - 0.01].mean() < 0.8


def sure_and_right(sure: int, doubtful: int) -> tuple[np.ndarray, np.ndarray]:
    """Answers of which the `sure` ones (0.9) are right, the `doubtful` ones (0.4) wrong, and their probabilities."""
    probs = np.array([[0.9, 0.1, 0.0]] * sure + [[0.4, 0.35, 0.25]] * doubtful)
    return np.repeat([0, 1], [sure, doubtful]), probs


def test_a_precision_of_a_few_answers_is_not_believed():
    assert threshold(*sure_and_right(MIN_SAID, 80), 0.8) == (0.41, 1.0, MIN_SAID / (MIN_SAID + 80))
    assert threshold(*sure_and_right(MIN_SAID - 1, 80), 0.8) is None  # too few are left from 0.41 on
    assert threshold(*sure_and_right(MIN_SAID, 0), 0.8) == (0.3, 1.0, 1.0)
    assert threshold(*sure_and_right(MIN_SAID - 1, 0), 0.8) is None


def test_an_answer_exactly_as_sure_as_the_threshold_bears_witness():
    probs = np.array([[0.5, 0.5, 0.0]] * MIN_SAID + [[0.495, 0.3, 0.205]] * 80)
    assert threshold(np.repeat([0, 1], [MIN_SAID, 80]), probs, 0.8) == (0.5, 1.0, MIN_SAID / (MIN_SAID + 80))


def test_where_no_threshold_is_good_enough_there_is_none():
    probs = np.array([[0.9, 0.1]] * 40 + [[0.6, 0.4]] * 40)
    truth = np.array([0] * 30 + [1] * 10 + [0] * 10 + [1] * 30)
    assert threshold(truth, probs, 0.8) is None
    assert threshold(truth, probs, 0.75) == (0.61, 0.75, 0.5)
    highest = np.array([[0.97, 0.03]] * 40 + [[0.948, 0.052]] * 40)
    assert threshold(truth, highest, 0.7) == (0.95, 0.75, 0.5)


def test_no_threshold_above_the_range_is_tried():
    probs = np.array([[0.99, 0.01]] * 40 + [[0.96, 0.04]] * 40)
    assert threshold(np.repeat([0, 1], 40), probs, 0.9) is None


def test_a_calibration_says_what_it_found():
    truth, logits = answers(2.0)
    found = calibrate(truth, logits, abstain_precision=0.7)
    probs = softmax(logits / found.temperature, axis=1)
    said = probs.max(axis=1) >= found.enter
    assert found.clips == len(truth)
    assert found.mistakes == (logits.argmax(axis=1) != truth).sum()
    assert found.reached
    assert found.precision == pytest.approx((probs.argmax(axis=1) == truth)[said].mean(), abs=0.005)
    assert found.coverage == pytest.approx(said.mean(), abs=0.005)
    assert found.exit == round(0.7 * found.enter, 2)
    assert found.temperature == round(found.temperature, 4)
    assert found.ece_before == pytest.approx(metrics.ece(truth, softmax(logits, axis=1)))
    assert found.before == reliability(truth, softmax(logits, axis=1))
    assert [bar.count for bar in found.after] != [bar.count for bar in found.before]
    gaps = [bar.count * abs(bar.confidence - bar.accuracy) for bar in found.after]
    assert sum(gaps) / len(truth) == pytest.approx(found.ece_after, abs=0.02)


def test_from_ten_mistakes_on_the_temperature_is_measured():
    truth = np.arange(280) % 7
    logits = np.eye(7)[truth] * 5
    logits[:MIN_MISTAKES] = np.roll(logits[:MIN_MISTAKES], 1, axis=1)
    found = calibrate(truth, logits, abstain_precision=0.7)
    assert found.mistakes == MIN_MISTAKES
    assert found.temperature != 1.0


def test_a_precision_out_of_reach_is_said_to_be():
    truth, logits = answers(1.0, 300)
    found = calibrate(np.random.default_rng(1).permutation(truth), logits, abstain_precision=0.9)
    assert not found.reached
    assert (found.precision, found.coverage) == (None, 0.0)


@pytest.mark.parametrize("kind", ["never right", "right by chance", "too few clips", "no clip is sure"])
def test_a_threshold_that_cannot_be_had_is_the_highest(kind):
    truth = np.arange(280) % 7
    logits = np.eye(7)[truth] * 5
    if kind == "never right":
        truth = (truth + 1) % 7
    elif kind == "right by chance":
        truth = np.random.default_rng(2).permutation(truth)
    elif kind == "too few clips":
        truth, logits = truth[: MIN_SAID - 1], logits[: MIN_SAID - 1]
    else:
        logits = logits / 50
    found = calibrate(truth, logits, abstain_precision=0.8)
    assert (found.enter, found.reached) == (ENTER_RANGE[1], False)
    assert found.coverage == (softmax(logits / found.temperature, axis=1).max(axis=1) >= ENTER_RANGE[1]).mean()


def test_just_enough_clips_bear_witness():
    truth = np.arange(MIN_SAID) % 7
    found = calibrate(truth, np.eye(7)[truth] * 5, abstain_precision=0.8)
    assert (found.enter, found.reached, found.precision) == (ENTER_RANGE[0], True, 1.0)


def test_a_network_that_is_always_right_is_not_made_boundlessly_sure():
    truth = np.arange(280) % 7
    logits = np.eye(7)[truth] * 5
    assert calibrate(truth, logits, abstain_precision=0.7).temperature == 1.0
    logits[: MIN_MISTAKES - 1] = np.roll(logits[: MIN_MISTAKES - 1], 1, axis=1)
    assert calibrate(truth, logits, abstain_precision=0.7).temperature == 1.0


def test_bars_of_the_diagram_hold_every_answer_once():
    truth, logits = answers(2.0)
    probs = softmax(logits, axis=1)
    bars = reliability(truth, probs)
    assert sum(bar.count for bar in bars) == len(truth)
    assert sum(bar.count * bar.accuracy for bar in bars) == pytest.approx((probs.argmax(axis=1) == truth).sum())
    assert all(low.confidence < high.confidence for low, high in itertools.pairwise(bars))
    confidence = probs.max(axis=1)
    for bar, low in zip(bars, range(10 - len(bars), 10), strict=True):
        inside = (confidence > low / 10) & (confidence <= (low + 1) / 10)
        assert bar.count == inside.sum()
        assert bar.confidence == pytest.approx(confidence[inside].mean())


@pytest.mark.parametrize("below", range(9))
def test_bars_beside_each_other_stay_apart(below):
    confidence = np.repeat([(below + 0.5) / 10, (below + 1.5) / 10], [20, 30])
    probs = np.column_stack([confidence, *[(1 - confidence) / 29] * 29])  # with 30 labels 0.05 is the highest, too
    bars = reliability(np.repeat([0, 1], [20, 30]), probs)
    assert [(bar.count, bar.accuracy) for bar in bars] == [(20, 1.0), (30, 0.0)]
    assert [bar.confidence for bar in bars] == pytest.approx(np.unique(confidence))


def test_a_confidence_of_exactly_one_stands_in_the_last_bar():
    bars = reliability(np.array([0, 1, 0]), np.array([[1.0, 0.0], [1.0, 0.0], [0.95, 0.05]]))
    assert [(bar.count, bar.accuracy) for bar in bars] == [(3, pytest.approx(2 / 3))]


def test_corpora_count_alike_for_strangers_and_a_label_is_said_of_a_share_of_them():
    """Twice as sure as they may be, and half as sure: neither decides, however many clips it has."""
    corpora = [answers(2.0, count=4_000), answers(0.5, count=1_000)]
    found, truth, probs = calibrate_strangers(corpora, coverage=0.4)
    assert found.temperature == pytest.approx(1.0, rel=0.06)
    assert (len(truth), probs.shape) == (2_000, (2_000, 7))
    assert found.coverage == pytest.approx(0.4, abs=0.02)
    assert found.coverage == (probs.max(axis=1) >= found.enter).mean()
    assert found.precision > (probs.argmax(axis=1) == truth).mean() + 0.05
    np.testing.assert_allclose(probs.sum(axis=1), 1.0)
    again, *_ = calibrate_strangers(corpora, coverage=0.4)
    assert again == found


@pytest.mark.parametrize("coverage", [0.1, 0.9])
def test_the_more_is_said_to_strangers_the_less_of_it_is_right(coverage):
    found, *_ = calibrate_strangers([answers(1.0)], coverage=coverage)
    other, *_ = calibrate_strangers([answers(1.0)], coverage=0.5)
    assert (found.precision > other.precision) == (coverage < 0.5)
    assert (found.enter > other.enter) == (coverage < 0.5)
