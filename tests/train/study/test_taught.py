"""The protocol `taught`: who is asked what after which lessons."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from tests.train.rooms.voices import clips_of
from train.rooms.heard_before import JUDGED
from train.study.taught import DRAWS, SCENARIOS, Scenario, exams, some_of

LABELS = ("angry", "happy", "neutral", "sad")
CLIPS = clips_of("here", voices=5, labels=LABELS, each=9)


def labels_of(places) -> list[str]:
    return [CLIPS[place].label for place in places]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_nothing_that_is_tested_was_heard_or_taught_before(scenario):
    for exam in exams(CLIPS, scenario):
        tested = set(exam.tested.tolist())
        assert tested
        assert not tested & {*exam.past.tolist(), *exam.lessons.tolist()}
        assert len(exam.past) == JUDGED.heard
        assert len(exam.called) == len(exam.lessons)
        room = {CLIPS[place].speaker for place in (*exam.tested, *exam.past, *exam.lessons)}
        assert room <= set(exam.voice.split("+"))
        assert len(exam.voice.split("+")) == scenario.voices


def test_lessons_are_so_many_of_each_label_and_more_of_them_include_the_fewer():
    found = list(exams(CLIPS, Scenario(name="1 voice", lessons=(0, 1, 2, 3, 5, 10))))
    assert [exam.lessons_per_label for exam in found[:5]] == [0, 1, 2, 3, 5]  # ten would leave no clip to ask
    for exam in found:
        counts = Counter(labels_of(exam.lessons))
        assert set(counts.values()) <= {exam.lessons_per_label}
        assert labels_of(exam.lessons) == exam.called
    for fewer, more in pairwise(found):
        if more.lessons_per_label:
            assert set(fewer.lessons) <= set(more.lessons)
            np.testing.assert_array_equal(fewer.tested, more.tested)
            np.testing.assert_array_equal(fewer.past, more.past)


def test_every_voice_has_its_draws_and_rooms_are_the_same_each_time():
    one = Scenario(name="1 voice", lessons=(3,))
    assert Counter(exam.voice for exam in exams(CLIPS, one)) == {f"voice {number}": DRAWS for number in range(5)}
    for first, second in zip(exams(CLIPS, one), exams(CLIPS, one), strict=True):
        np.testing.assert_array_equal(first.lessons, second.lessons)
        np.testing.assert_array_equal(first.tested, second.tested)


def test_seven_of_ten_utterances_before_were_neutral():
    moods = Counter(label for exam in exams(CLIPS, Scenario(name="x", lessons=(5,))) for label in labels_of(exam.past))
    assert 0.65 < moods["neutral"] / moods.total() < 0.75


def test_two_labels_and_wrong_lessons_are_what_they_say():
    for exam in exams(CLIPS, Scenario(name="two", lessons=(0, 5), two=True)):
        assert len(set(exam.called)) == (2 if exam.lessons_per_label else 0)
    for exam in exams(CLIPS, Scenario(name="wrong", lessons=(5,), wrong=0.2)):
        wrong = [called != label for called, label in zip(exam.called, labels_of(exam.lessons), strict=True)]
        assert sum(wrong) == 4
        assert set(exam.called) <= set(LABELS)


def test_a_voice_with_too_few_clips_is_not_taught():
    few = clips_of("here", voices=1, labels=LABELS, each=2)
    assert list(exams(few, Scenario(name="1 voice", lessons=(0, 1)))) == []


def test_a_share_is_spread_over_voices_and_holds_each_label():
    kept = some_of([*CLIPS, *clips_of("there", voices=2, labels=LABELS, each=4)], voices=3, each=2)
    counts = Counter((clip.corpus, clip.speaker, clip.label) for clip in kept)
    assert set(counts.values()) == {2}
    assert {clip.speaker for clip in kept if clip.corpus == "here"} == {"voice 0", "voice 2", "voice 4"}
    assert {clip.speaker for clip in kept if clip.corpus == "there"} == {"voice 0", "voice 1"}
    assert some_of(CLIPS, voices=None, each=None) == CLIPS
