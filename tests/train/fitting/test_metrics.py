"""Every figure against its definition, counted by hand."""

import math
import re

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import balanced_accuracy_score

from train.fitting import metrics

LABELS = ["a", "b", "c"]


@pytest.fixture
def answers() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 3, 200)
    logits = rng.normal(size=(200, 3)) + 1.2 * np.eye(3)[truth]
    return truth, logits.astype(np.float32)


def probabilities(logits: np.ndarray) -> list[list[float]]:
    rows = []
    for row in logits.tolist():
        total = math.fsum(math.exp(value) for value in row)
        rows.append([math.exp(value) / total for value in row])
    return rows


def test_figures_by_counting(answers):
    truth, logits = answers
    found = metrics.measures(truth, logits, LABELS)
    said = [row.index(max(row)) for row in logits.tolist()]
    pairs = list(zip(truth.tolist(), said, strict=True))
    assert found["n"] == 200
    assert found["accuracy"] == pytest.approx(sum(t == s for t, s in pairs) / 200)
    recalls, f1s = [], []
    for label in range(3):
        hits = sum(t == s == label for t, s in pairs)
        recall = hits / sum(t == label for t, _ in pairs)
        precision = hits / sum(s == label for _, s in pairs)
        recalls.append(recall)
        f1s.append(2 * precision * recall / (precision + recall))
        assert found["per_class"][LABELS[label]]["recall"] == pytest.approx(recall)
        assert found["per_class"][LABELS[label]]["precision"] == pytest.approx(precision)
        assert found["per_class"][LABELS[label]]["f1"] == pytest.approx(f1s[-1])
        assert found["confusion"][label] == [sum(pair == (label, other) for pair in pairs) for other in range(3)]
    assert found["uar"] == pytest.approx(math.fsum(recalls) / 3)
    assert found["macro_f1"] == pytest.approx(math.fsum(f1s) / 3)


def test_cross_entropy_by_hand(answers):
    truth, logits = answers
    expected = -math.fsum(math.log(row[right]) for row, right in zip(probabilities(logits), truth, strict=True)) / len(
        truth
    )
    assert metrics.measures(truth, logits, LABELS)["cross_entropy"] == pytest.approx(expected, rel=1e-6)


def test_auc_is_the_share_of_pairs_in_the_right_order(answers):
    truth, logits = answers
    probs = np.array(probabilities(logits))
    areas = []
    for label in range(3):
        inside, outside = probs[truth == label, label], probs[truth != label, label]
        won = sum((one > other) + 0.5 * (one == other) for one in inside for other in outside)
        areas.append(won / (len(inside) * len(outside)))
    assert metrics.auc(truth, probs) == pytest.approx(np.mean(areas))


def test_calibration_error_over_bins_of_equally_many_answers(answers):
    truth, logits = answers
    probs = np.array(probabilities(logits))
    ranked = sorted((max(row), row.index(max(row)) == right) for row, right in zip(probs.tolist(), truth, strict=True))
    gaps = [abs(sum(confidence - hit for confidence, hit in ranked[start : start + 20])) for start in range(0, 200, 20)]
    assert metrics.ece_equal_mass(truth, probs, bins=10) == pytest.approx(sum(gaps) / 200)


def test_coverage_begins_with_the_surest_and_ends_with_the_accuracy(answers):
    truth, logits = answers
    probs = np.array(probabilities(logits))
    kept, accuracy = metrics.coverage_curve(truth, probs)
    threshold = sorted(probs.max(axis=1), reverse=True)[49]
    sure = probs.max(axis=1) >= threshold
    assert kept[49] == 0.25
    assert accuracy[49] == pytest.approx((probs[sure].argmax(axis=1) == truth[sure]).mean())
    assert accuracy[-1] == pytest.approx(metrics.measures(truth, logits, LABELS)["accuracy"])


def test_a_label_that_does_not_occur_is_not_in_the_means(answers):
    truth, logits = answers
    two = truth < 2
    found = metrics.measures(truth[two], logits[two], LABELS)
    recalls = [found["per_class"][label]["recall"] for label in "ab"]
    assert found["uar"] == pytest.approx(sum(recalls) / 2)
    assert metrics.auc(np.zeros(4, int), np.full((4, 3), 1 / 3)) is None


def test_ece_by_its_definition(answers):
    truth, logits = answers
    bins: dict[int, list[tuple[float, bool]]] = {}
    for row, right in zip(probabilities(logits), truth, strict=True):
        best = max(row)
        bins.setdefault(min(14, math.ceil(best * 15) - 1), []).append((best, row.index(best) == right))
    expected = sum(
        abs(sum(hit for _, hit in members) - sum(confidence for confidence, _ in members)) for members in bins.values()
    )
    assert metrics.ece(truth, np.array(probabilities(logits))) == pytest.approx(expected / len(truth))
    assert metrics.ece(np.array([0, 1]), np.eye(2)) == 0.0
    often = np.arange(len(truth)) % 3  # an answer that weighs two is one that is there twice
    sure = np.array(probabilities(logits))
    twice = metrics.ece(truth.repeat(often), sure.repeat(often, axis=0))
    assert metrics.ece(truth, sure, weights=often) == pytest.approx(twice)


@pytest.mark.parametrize("below", range(metrics.BINS - 1))
def test_ece_keeps_every_two_bins_apart(below):
    """Always right in one bin, always wrong in the next: together they would seem better calibrated than they are."""
    confidence = np.repeat([(below + 0.5) / 15, (below + 1.5) / 15], 50)
    probs = np.column_stack([confidence, *[(1 - confidence) / 39] * 39])  # with 40 labels 1/30 is the highest, too
    expected = (50 * (1 - confidence[0]) + 50 * confidence[-1]) / 100
    assert metrics.ece(np.repeat([0, 1], 50), probs) == pytest.approx(expected)


@pytest.mark.parametrize("warmth", [0.5, 1.0, 2.5])
def test_temperature_finds_by_how_much_logits_were_scaled(warmth):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 4)) * 2
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (rng.random((len(probs), 1)) > probs.cumsum(axis=1)).sum(axis=1)
    assert metrics.temperature(truth, logits * warmth) == pytest.approx(warmth, rel=0.05)


def test_interval_is_about_the_binomial_one():
    rng = np.random.default_rng(1)
    truth = np.zeros(1_000, int)
    said = (rng.random(1_000) > 0.8).astype(int)
    share = (truth == said).mean()
    half = 1.96 * math.sqrt(share * (1 - share) / 1_000)
    low, high = metrics.interval(truth, said, metrics.accuracy, draws=2_000)
    assert low == pytest.approx(share - half, abs=0.006)
    assert high == pytest.approx(share + half, abs=0.006)


def test_interval_over_speakers_is_wider_when_speakers_differ():
    speakers = np.repeat(np.arange(10), 100)
    truth = np.zeros(1_000, int)
    said = (speakers >= 5).astype(int)  # half of the speakers are never understood
    by_clip = metrics.interval(truth, said, metrics.accuracy)
    by_speaker = metrics.interval(truth, said, metrics.accuracy, groups=speakers)
    assert by_speaker[1] - by_speaker[0] > 5 * (by_clip[1] - by_clip[0])


def test_the_figures_of_a_side_hold_those_that_stand_alone(answers):
    truth, logits = answers
    found, probs = metrics.measures(truth, logits, LABELS), np.array(probabilities(logits))
    assert found["auc"] == pytest.approx(metrics.auc(truth, probs))
    assert found["ece"] == pytest.approx(metrics.ece(truth, probs))
    assert [found["per_class"][label]["n"] for label in LABELS] == np.bincount(truth).tolist()
    assert metrics.accuracy(truth, logits.argmax(axis=1)) == found["accuracy"]
    assert metrics.uar(truth, logits.argmax(axis=1)) == pytest.approx(found["uar"])


@pytest.mark.filterwarnings("error")
def test_a_label_that_is_never_said_has_no_precision(answers):
    truth, logits = answers
    silent = logits.copy()
    silent[:, 2] = -100.0
    assert metrics.measures(truth, silent, LABELS)["per_class"]["c"] == {
        "precision": 0.0, "recall": 0.0, "f1": 0.0, "n": int((truth == 2).sum())
    }  # fmt: skip


def test_uar_is_scikit_learns_over_the_labels_that_occur():
    truth, said = np.array([0, 0, 0, 2, 2, 5]), np.array([0, 0, 5, 2, 5, 5])
    assert metrics.uar(truth, said) == pytest.approx(balanced_accuracy_score(truth, said))


def test_auc_of_two_labels():
    truth, first = np.array([0, 0, 1, 1]), np.array([0.9, 0.4, 0.6, 0.1])
    assert metrics.auc(truth, np.column_stack([first, 1 - first])) == pytest.approx(0.75)


def test_bins_of_equally_many_answers_begin_with_the_least_sure(answers):
    truth, logits = answers
    probs = np.array(probabilities(logits))
    confidence, right, counts = metrics.equal_mass(truth, probs)
    assert len(counts) == metrics.BINS == 15
    assert counts.sum() == len(truth)
    assert np.ptp(counts) <= 1
    assert (np.diff(confidence) >= 0).all()
    assert (confidence * counts).sum() == pytest.approx(probs.max(axis=1).sum())
    assert (right * counts).sum() == pytest.approx((probs.argmax(axis=1) == truth).sum())
    assert metrics.ece_equal_mass(truth, probs) == metrics.ece_equal_mass(truth, probs, bins=15)
    few = metrics.equal_mass(truth[:4], probs[:4])
    assert few[2].tolist() == [1, 1, 1, 1]  # an empty bin is none


def test_equally_sure_answers_stay_in_their_order():
    truth = np.random.default_rng(0).integers(0, 2, 400)
    probs = np.repeat([[0.6, 0.4], [0.75, 0.25]], 200, axis=0)[np.random.default_rng(1).permutation(400)]
    sure = probs[:, 0] == 0.75
    kept, accuracy = metrics.coverage_curve(truth, probs)
    assert kept.tolist() == [number / 400 for number in range(1, 401)]
    right = [*(truth[sure] == 0), *(truth[~sure] == 0)]
    assert accuracy.tolist() == [sum(right[:number]) / number for number in range(1, 401)]
    assert metrics.equal_mass(truth, probs, bins=400)[1].tolist() == [*right[200:], *right[:200]]


def test_the_temperature_stays_within_bounds():
    truth, logits = np.zeros(100, int), np.tile([0.3, 0.0], (100, 1))
    assert metrics.temperature(truth, logits) == pytest.approx(math.exp(-3), rel=0.01)  # always right
    assert metrics.temperature(1 - truth, logits) == pytest.approx(math.exp(3), rel=0.01)  # always wrong


def test_the_interval_holds_19_of_20_draws():
    truth, said = np.zeros(200, int), np.repeat([0, 1], [160, 40])
    low, high = metrics.interval(truth, said, metrics.accuracy, draws=4_000)
    expected = binom.ppf([0.025, 0.975], 200, 0.8) / 200
    assert (low, high) == (pytest.approx(expected[0], abs=0.003), pytest.approx(expected[1], abs=0.003))


def test_the_interval_is_the_same_each_time_and_another_for_another_seed():
    truth, said = np.zeros(50, int), np.repeat([0, 1], [30, 20])
    speakers = np.repeat(np.arange(10), 5)
    chance = np.random.default_rng(0).permutation(50)
    one = metrics.interval(truth, said[chance], metrics.accuracy, groups=speakers)
    assert one == metrics.interval(truth, said[chance], metrics.accuracy, groups=speakers, seed=0, draws=1_000)
    others = {metrics.interval(truth, said[chance], metrics.accuracy, seed=seed, draws=53) for seed in range(5)}
    assert len(others) > 1


def test_mean_and_spread_of_what_is_known():
    assert metrics.mean_and_spread([1.0, None, 2.0, 4.5]) == {
        "mean": 2.5, "spread": pytest.approx(np.sqrt((1.5**2 + 0.5**2 + 2**2) / 2)), "values": [1.0, 2.0, 4.5]
    }  # fmt: skip
    assert metrics.mean_and_spread([1.0, 2.0])["spread"] == pytest.approx(np.sqrt(0.5))
    assert metrics.mean_and_spread([None, 4.0]) == {"mean": 4.0, "spread": 0.0, "values": [4.0]}
    assert metrics.mean_and_spread([None]) is None


def test_guessing_is_among_the_labels_that_have_clips():
    truth = np.array([0, 2, 2, 2, 5, 6])
    found = metrics.measures(truth, np.zeros((6, 7)), list("abcdefg"))
    assert metrics.guesses(found["per_class"]) == ("c", 0.5, 0.25)
    assert found["confusion"] == [[int((truth == row).sum()), 0, 0, 0, 0, 0, 0] for row in range(7)]  # all say "a"
    always = np.zeros((6, 7))
    always[:, 2] = 1
    assert metrics.measures(truth, always, list("abcdefg"))["accuracy"] == 0.5
    assert metrics.measures(truth, always, list("abcdefg"))["uar"] == 0.25


def test_where_all_labels_are_alike_none_is_the_commonest():
    for counts, commonest in (((2, 2, 0), None), ((2, 2, 1), "a"), ((0, 3, 0), "b")):
        per_class = {label: {"n": count} for label, count in zip("abc", counts, strict=True)}
        assert metrics.guesses(per_class).commonest == commonest


def test_how_little_few_clips_tell_is_said_by_how_few():
    """As far as a binomial's 95 % go at most; four clips are not 96."""
    said = {clips: metrics.too_few(clips) for clips in (1, 4, 29, 30, 96, 99)}
    for clips, line in said.items():
        points = int(re.search(r"up to (\d+) points", line)[1])
        assert points == min(50, round(196 * np.sqrt(0.25 / clips)))
        assert line.startswith("TOO FEW") == (clips < 30)
    assert metrics.too_few(100) is None
