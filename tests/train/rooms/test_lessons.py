"""What a network of utterances is taught and given: against the sensor's own baseline, whole and cut short."""

import numpy as np
import pytest

from edge.features.baseline import Baseline
from tests.train.rooms.voices import clips_of
from train.rooms.heard_before import Room
from train.rooms.lessons import CLOSED, against, lessons, truth_of
from train.rooms.prior import prior_of
from train.rooms.utterances import Utterances

LABELS = ("angry", "happy", "neutral", "sad")
CLIPS = [
    *clips_of("one", voices=4, labels=LABELS, each=6),
    *clips_of("two", voices=2, labels=LABELS[1:], each=6),
]
EVERYBODY = range(len(CLIPS))


def rows(seed: int, answers: int) -> list[np.ndarray]:
    """Functionals along each clip: the last ones are 100 more than the others."""
    rng = np.random.default_rng(seed)
    made = [rng.normal(0, 1, (answers, 3)).astype(np.float32) for _ in CLIPS]
    for one in made:
        one[-1] += 100
    return made


HEARD = Utterances([rows(0, 4), rows(1, 4)])
PRIOR = prior_of(CLIPS, EVERYBODY, [HEARD.whole(np.arange(len(CLIPS)))])


def test_whole_utterances_are_their_last_answer():
    whole = HEARD.whole(np.array([3, 0]), place=1)
    np.testing.assert_array_equal(whole, np.array([rows(1, 4)[3][-1], rows(1, 4)[0][-1]]))


def test_half_of_what_is_cut_is_whole_and_the_rest_ends_anywhere():
    cut = HEARD.cut(np.zeros(4_000, int), 0, np.random.default_rng(0))
    own = rows(0, 4)[0]
    share = [float((cut == answer).all(axis=1).mean()) for answer in own]
    assert share == pytest.approx([0.125, 0.125, 0.125, 0.625], abs=0.03)


def test_what_a_network_is_given_is_what_the_sensors_baseline_says():
    """Of many rooms at once as of each by itself, at its own place."""
    among = [
        Room(past=np.array([0, 5, 9]), judged=np.array([1, 2])),
        Room(past=np.array([7, 7, 3]), judged=np.array([4])),
        Room(past=np.array([2, 8, 1]), judged=np.array([0, 6, 5])),
    ]
    expected = []
    for room, place in zip(among, (1, 0, 1), strict=True):
        baseline = Baseline(PRIOR)
        for index in room.past:
            baseline.hear(HEARD.whole(np.array([index]), place)[0])
        expected.append(baseline.against(HEARD.whole(room.judged, place)))
    given = against(among, HEARD, PRIOR, places=(1, 0, 1))
    np.testing.assert_array_equal(given, np.concatenate(expected))
    assert given[:, -1] == pytest.approx(3 / 8)  # how well they are known


def test_nothing_heard_before_is_the_trainings_usual():
    given = against([Room(past=np.array([], int), judged=np.array([1]))], HEARD, PRIOR)
    np.testing.assert_array_equal(given, Baseline(PRIOR).against(HEARD.whole(np.array([1]))))


def test_a_label_that_a_corpus_lacks_is_closed_and_not_wrong():
    truth = truth_of(CLIPS, [0, len(CLIPS) - 1], LABELS)
    np.testing.assert_array_equal(truth, [[1, 0, 0, 0], [CLOSED, 0, 0, 1]])


def test_every_clip_is_a_lesson_once_an_epoch():
    taught = lessons(CLIPS, HEARD, EVERYBODY, PRIOR, LABELS, np.random.default_rng(0))
    assert sorted(taught.clips) == list(EVERYBODY)
    assert taught.inputs.shape == (len(CLIPS), 4)
    assert taught.inputs.dtype == np.float32
    assert taught.weight.mean() == pytest.approx(1.0)
    again = lessons(CLIPS, HEARD, EVERYBODY, PRIOR, LABELS, np.random.default_rng(0))
    np.testing.assert_array_equal(taught.inputs, again.inputs)
    other = lessons(CLIPS, HEARD, EVERYBODY, PRIOR, LABELS, np.random.default_rng(1))
    assert not np.array_equal(taught.inputs, other.inputs)


def test_only_the_training_side_is_heard():
    one = [index for index in EVERYBODY if CLIPS[index].corpus == "one"]
    taught = lessons(CLIPS, HEARD, one, PRIOR, LABELS, np.random.default_rng(0))
    assert sorted(taught.clips) == one


def test_a_place_is_a_room_of_its_own_to_the_prior():
    everywhere = np.arange(len(CLIPS))
    here = HEARD.whole(everywhere)
    apart = prior_of(CLIPS, EVERYBODY, [here, here + 50])
    together = prior_of(CLIPS, EVERYBODY, [here])
    np.testing.assert_allclose(np.array(apart.mean), np.array(together.mean) + 25, atol=1e-4)
    np.testing.assert_allclose(apart.within, together.within, rtol=1e-4)
    assert min(apart.between) > 24
