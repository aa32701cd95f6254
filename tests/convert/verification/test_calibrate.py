"""Calibration on answers whose confidence is known to be wrong by a factor."""

import itertools

import numpy as np
import pytest
from scipy.special import softmax

from convert.verification.calibrate import ENTER_RANGE, MIN_MISTAKES, MIN_SAID, calibrate, reliability, threshold


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


def test_a_precision_out_of_reach_is_said_to_be():
    truth, logits = answers(1.0, 300)
    found = calibrate(np.random.default_rng(1).permutation(truth), logits, abstain_precision=0.9)
    assert not found.reached
    assert found.precision < 0.9


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
