"""The room's baseline against weighted means by numpy, and against Bayes' rule by plain numerical integration."""

import numpy as np
import pytest

from edge.features.baseline import LIMIT, Baseline, Prior

PRIOR = Prior(mean=[0.0, 10.0], within=[1.0, 2.0], between=[3.0, 0.5])


def heard(utterances: np.ndarray, **changes: float) -> Baseline:
    baseline = Baseline(Prior(mean=PRIOR.mean, within=PRIOR.within, between=PRIOR.between, **changes))
    for each in utterances:
        baseline.hear(each)
    return baseline


def test_an_unknown_room_is_heard_against_the_training():
    away = Baseline(PRIOR).relative(np.array([[np.sqrt(10.0), 10.0], [0.0, 10.0 + np.sqrt(4.25)]]))
    np.testing.assert_allclose(away, [[1.0, 0.0], [0.0, 1.0]], atol=1e-6)


def test_a_known_room_is_heard_against_its_own_mean_and_deviation():
    rng = np.random.default_rng(0)
    utterances = rng.normal([4.0, 11.0], [0.5, 3.0], (2_000, 2))
    baseline = heard(utterances, horizon_utterances=1e9)
    asked = np.array([4.5, 14.0])
    wanted = (asked - utterances.mean(axis=0)) / utterances.std(axis=0, ddof=1)
    np.testing.assert_allclose(baseline.relative(asked), wanted, atol=0.02)
    assert baseline.utterances == 2_000


def test_the_mean_is_what_bayes_rule_says():
    """One utterance at 3 where rooms' means are N(0, 3), utterances N(room, 1): the usual is where the posterior is."""
    grid = np.linspace(-30, 30, 60_001)
    posterior = np.exp(-0.5 * (grid / 3.0) ** 2) * np.exp(-0.5 * (3.0 - grid) ** 2)
    wanted = (grid * posterior).sum() / posterior.sum()
    baseline = heard(np.array([[3.0, 10.0]]))
    assert baseline.relative(np.array([wanted, 10.0]))[0] == pytest.approx(0.0, abs=1e-3)


def test_the_past_fades_exponentially():
    rng = np.random.default_rng(1)
    utterances = np.cumsum(rng.normal(0.0, 0.3, (400, 2)), axis=0)
    baseline = heard(utterances, horizon_utterances=50.0)
    weights = np.exp(-np.arange(399, -1, -1) / 50.0)
    mean = np.average(utterances, axis=0, weights=weights)
    within, between = np.square(PRIOR.within), np.square(PRIOR.between)
    shrunk = (within * PRIOR.mean + weights.sum() * between * mean) / (within + weights.sum() * between)
    np.testing.assert_allclose(baseline.relative(shrunk), 0.0, atol=1e-5)


def test_a_functional_that_is_missing_says_nothing():
    utterances = np.random.default_rng(2).normal(5.0, 1.0, (30, 2))
    gaps = utterances.copy()
    gaps[::3, 1] = np.nan
    np.testing.assert_allclose(
        heard(gaps, horizon_utterances=1e9).relative(np.array([5.0, 5.0])),
        [
            heard(utterances, horizon_utterances=1e9).relative(np.array([5.0, 5.0]))[0],
            heard(np.delete(utterances, slice(0, None, 3), axis=0), horizon_utterances=1e9).relative([5.0, 5.0])[1],
        ],
        rtol=1e-5,
    )
    assert heard(gaps).relative(np.array([np.nan, 5.0]))[0] == 0.0


def test_one_loud_television_does_not_become_the_room():
    room = np.random.default_rng(3).normal([0.0, 10.0], [1.0, 2.0], (50, 2))
    asked = np.array([2.0, 13.0])
    before = heard(room).relative(asked)
    after = heard(np.vstack([room, [[1e6, -1e6]]])).relative(asked)
    np.testing.assert_allclose(after, before, atol=0.45)
    assert (np.abs(heard(room).relative(np.array([1e6, -1e6]))) == LIMIT).all()


def test_a_network_is_also_told_how_well_the_room_is_known():
    utterances = np.random.default_rng(4).normal([4.0, 11.0], [0.5, 3.0], (15, 2))
    asked = np.array([[[4.5, 14.0], [np.nan, 2.0]]])
    for count, known in ((0, 0.0), (5, 0.5), (15, 0.75)):
        baseline = heard(utterances[:count])
        given = baseline.against(asked)
        assert (given.dtype, given.shape) == (np.float32, (1, 2, 3))
        np.testing.assert_array_equal(given[..., :2], baseline.relative(asked))
        np.testing.assert_array_equal(given[..., 2], np.float32(known))


def test_forgotten_is_as_never_heard():
    baseline = heard(np.full((7, 2), 3.0))
    baseline.reset()
    asked = np.array([1.0, 2.0])
    np.testing.assert_array_equal(baseline.relative(asked), Baseline(PRIOR).relative(asked))
    assert baseline.utterances == 0
