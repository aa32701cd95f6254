"""The personal layer against scikit-learn and against refitting, and the promises that it makes."""

from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from edge.lessons.lesson import Lesson, as_half, as_log
from edge.lessons.personal import Personal, Usual, _regressions, fit

LABELS = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
DIMS = 24


class Room:
    """A room whose labels lie apart from each other, and a model that knows little of it."""

    def __init__(self, *, apart: float = 1.0, seed: int = 0, dims: int = DIMS, right: float = 0.3) -> None:
        self._rng = np.random.default_rng(seed)
        self._centres = 3.0 + apart * self._rng.normal(size=(len(LABELS), dims))
        self._right = right
        self.usual = Usual(dims)
        for label in self._rng.integers(len(LABELS), size=40):
            self.usual.hear(self.said(label)[0])

    def said(self, label: int) -> tuple[np.ndarray, np.ndarray]:
        """An utterance of a label: its embedding and what the model says of it."""
        embedding = (self._centres[label] + self._rng.normal(size=self._centres.shape[1])).astype(np.float32)
        logits = self._rng.normal(size=len(LABELS))
        logits[label] += 2.0 * (self._rng.random() < self._right)
        probs = np.exp(logits)
        return embedding, (probs / probs.sum()).astype(np.float32)

    def lesson(self, label: int, called: int | None = None) -> Lesson:
        embedding, probs = self.said(label)
        called = label if called is None else called
        return Lesson(f"{self._rng.integers(1 << 40)}", LABELS[called], 0.0, as_half(embedding), as_log(probs))

    def lessons(self, *counts: int) -> list[Lesson]:
        return [self.lesson(label) for label, count in enumerate(counts) for _ in range(count)]

    def right(self, layer: Personal, labels: Sequence[int] = range(7), times: int = 40) -> float:
        """The share of new utterances of which the layer is right."""
        return np.mean([layer.answer(*self.said(label)).argmax() == label for label in labels for _ in range(times)])


def test_the_usual_is_mean_and_deviation_once_enough_was_heard():
    rows = np.random.default_rng(1).normal(2, [0.5, 1, 4], (2_000, 3)).astype(np.float32)
    usual = Usual(3)
    for row in rows:
        usual.hear(row)
    np.testing.assert_allclose(usual.mean, rows.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(usual.deviation, rows.std(axis=0), rtol=0.05)
    np.testing.assert_allclose(usual.standardize(rows), (rows - usual.mean) / usual.deviation, rtol=1e-5)


def test_of_little_heard_numbers_have_nearly_the_same_deviation():
    usual = Usual(3)
    for row in ([1.0, 0.0, 5.0], [1.0, 0.1, 9.0]):
        usual.hear(np.array(row, np.float32))
    assert 0.5 < usual.deviation.min() < usual.deviation.max() < 3


@pytest.mark.parametrize("count", [9, 60])
def test_its_regression_is_scikit_learn_s_ridge(count):
    rng = np.random.default_rng(count)
    given, truth = rng.normal(size=(count, DIMS)).astype(np.float32), np.arange(count) % 3
    weight = rng.uniform(0.3, 3, count).astype(np.float32)
    for found in _regressions(given, truth, weight, 3):
        oracle = Ridge(alpha=found.penalty * DIMS).fit(given, np.eye(3)[truth], sample_weight=weight)
        np.testing.assert_allclose(found.weights, oracle.coef_.T, atol=1e-4)
        np.testing.assert_allclose(found.offset, oracle.intercept_, atol=1e-4)
        balance = np.average(np.eye(3)[truth], axis=0, weights=weight)
        for left_out in range(count):
            kept = np.arange(count) != left_out
            lost = balance - np.average(np.eye(3)[truth][kept], axis=0, weights=weight[kept])
            oracle = Ridge(alpha=found.penalty * DIMS)
            oracle.fit(given[kept], np.eye(3)[truth][kept], sample_weight=weight[kept])
            without = oracle.predict(given[[left_out]])[0] + lost  # labels weigh as they did
            np.testing.assert_allclose(found.left_out[left_out], without, atol=1e-3)


def test_without_lessons_it_is_the_model_bit_for_bit():
    room = Room()
    embedding, probs = room.said(2)
    layer = fit([], LABELS, room.usual)
    assert layer.answer(embedding, probs) is probs
    assert (layer.per_label, layer.before, layer.after, layer.in_use) == ({}, None, None, False)


def test_lessons_of_one_label_change_nothing():
    room = Room()
    layer = fit(room.lessons(4), LABELS, room.usual)
    embedding, probs = room.said(2)
    assert layer.answer(embedding, probs) is probs
    assert layer.per_label == {"angry": 4}
    assert layer.before == layer.after


@pytest.mark.parametrize(("each", "gain"), [(1, 0.1), (3, 0.3), (10, 0.45)])
def test_the_more_it_is_taught_the_more_it_is_right(each, gain):
    room = Room()
    layer = fit(room.lessons(*[each] * 7), LABELS, room.usual)
    assert layer.in_use
    assert room.right(layer) - room.right(fit([], LABELS, room.usual)) > gain


def test_what_it_says_of_itself_is_true():
    found = []
    for seed in range(12):
        room = Room(apart=0.5, seed=seed)
        layer = fit(room.lessons(*[12] * 7), LABELS, room.usual)
        found.append(
            (layer.before.right, room.right(fit([], LABELS, room.usual)), layer.after.right, room.right(layer))
        )
    before, truly_before, after, truly_after = np.mean(found, axis=0)
    assert abs(before - truly_before) < 0.05
    assert -0.07 < after - truly_after < 0.03  # rather too low: with one lesson less
    assert after - before > 0.1


def test_answers_are_probabilities():
    room = Room()
    for counts in ([2] * 7, [3, 0, 0, 2, 0, 1, 0], [1] * 7):
        layer = fit(room.lessons(*counts), LABELS, room.usual)
        for _ in range(50):
            told = layer.answer(*room.said(3))
            assert told.dtype == np.float32
            assert told.shape == (7,)
            assert told.min() >= 0
            assert told.sum() == pytest.approx(1.0, abs=1e-5)


def test_a_label_never_taught_keeps_its_chance_and_what_it_wins():
    room = Room(right=0.6)
    layer = fit(room.lessons(0, 5, 0, 0, 5), LABELS, room.usual)
    assert layer.in_use
    changed = 0
    for label in range(7):
        for _ in range(60):
            embedding, probs = room.said(label)
            told = layer.answer(embedding, probs)
            untaught = [0, 2, 3, 5, 6]
            np.testing.assert_allclose(told[untaught], probs[untaught], atol=1e-6)
            if probs.argmax() in untaught:
                assert told.argmax() == probs.argmax()
            changed += told.argmax() != probs.argmax()
    assert changed > 10


def test_lessons_that_do_not_help_are_not_used():
    room = Room(right=1.0)
    alike = [room.said(number % 7)[0] for number in range(6)]
    lessons = [lesson._replace(embedding=as_half(alike[number % 6])) for number, lesson in
               enumerate(room.lessons(*[6] * 7))]  # fmt: skip
    layer = fit(lessons, LABELS, room.usual)  # what sounds alike was every label once
    assert not layer.in_use
    assert layer.after.chance < layer.before.chance
    embedding, probs = room.said(1)
    assert layer.answer(embedding, probs) is probs


def test_lessons_that_mean_nothing_cost_next_to_nothing():
    untaught, taught = [], []
    for seed in range(4):
        room, others = Room(right=0.9, seed=seed), Room(seed=seed + 100)
        lessons = [lesson._replace(embedding=others.lesson(number % 5).embedding) for number, lesson in
                   enumerate(room.lessons(*[6] * 7))]  # fmt: skip
        untaught.append(room.right(fit([], LABELS, room.usual)))
        taught.append(room.right(fit(lessons, LABELS, room.usual)))
    assert np.mean(taught) > np.mean(untaught) - 0.05


def test_a_fifth_of_the_lessons_may_be_wrong():
    room = Room()
    lessons = room.lessons(*[8] * 7)
    untaught = room.right(fit([], LABELS, room.usual))
    gain = room.right(fit(lessons, LABELS, room.usual)) - untaught
    rng = np.random.default_rng(5)
    wrong = [lesson._replace(label=LABELS[rng.integers(7)]) if rng.random() < 0.2 else lesson for lesson in lessons]
    assert room.right(fit(wrong, LABELS, room.usual)) - untaught > gain / 2


def test_a_label_with_many_lessons_does_not_swallow_the_others():
    room = Room()
    layer = fit(room.lessons(2, 2, 2, 2, 40, 2, 2), LABELS, room.usual)
    assert room.right(layer, labels=[0, 1, 2, 3, 5, 6]) > room.right(fit([], LABELS, room.usual)) + 0.2


def test_the_order_of_lessons_does_not_matter():
    room = Room()
    lessons = room.lessons(*[3] * 7)
    embedding, probs = room.said(4)
    expected = fit(lessons, LABELS, room.usual).answer(embedding, probs)
    np.testing.assert_allclose(fit(lessons[::-1], LABELS, room.usual).answer(embedding, probs), expected, atol=1e-4)


def test_lessons_from_elsewhere_are_all_that_is_known_of_a_new_room():
    room = Room()
    layer = fit(room.lessons(*[6] * 7), LABELS, Usual(DIMS))
    assert room.right(layer) > room.right(fit([], LABELS, room.usual)) + 0.3


def test_numbers_at_their_limits_give_probabilities():
    room = Room()
    for embeddings in (np.zeros(DIMS), np.full(DIMS, 65_504.0), np.eye(DIMS)[0] * 65_504.0):
        lessons = [lesson._replace(embedding=embeddings.astype(np.float16)) for lesson in room.lessons(*[2] * 7)]
        lessons += room.lessons(*[2] * 7)
        for usual in (room.usual, Usual(DIMS)):
            told = fit(lessons, LABELS, usual).answer(*room.said(0))
            assert np.isfinite(told).all()
            assert told.sum() == pytest.approx(1.0, abs=1e-4)
