"""Every figure against its definition, counted by hand."""

import math

import numpy as np
import pytest

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
