"""Labels from probabilities: each rule alone, on probabilities made here."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.config import Decision as Overrides
from edge.hearing.decision import Decision
from edge.hearing.decision import settings as with_overrides
from edge.labels import QUIET, UNKNOWN
from edge.model.manifest import DecisionDefaults

LABELS = ["angry", "happy", "sad"]
PLAIN = DecisionDefaults(
    smoothing_ms=0, enter=0.6, exit=0.4, dwell_ms=160, unknown_after_ms=800, first_within_ms=960, refractory_ms=800
)
BLOCK_S = 0.08


def test_a_rules_setting_stands_with_the_artifact_and_with_the_sensor():
    """One of them alone would be a setting that nobody can set, or one that does nothing."""
    ours, theirs = set(Overrides.__struct_fields__), set(DecisionDefaults.__struct_fields__)
    assert not ours - theirs, f"{ours - theirs}: add them to DecisionDefaults of edge/model/manifest.py"
    assert not theirs - ours, f"{theirs - ours}: add them, `None`, to Decision of edge/config.py and to config.yaml"


def probs(**scores: float) -> np.ndarray:
    rest = (1 - sum(scores.values())) / (len(LABELS) - len(scores))
    return np.array([scores.get(label, rest) for label in LABELS], np.float32)


class Room:
    """Plays probabilities (or None for silence) to a Decision, a block at a time."""

    def __init__(self, settings: DecisionDefaults = PLAIN) -> None:
        self.decision = Decision(LABELS, settings)
        self.now_s, self.speaking, self.changes = 0.0, False, []

    def hear(self, heard: np.ndarray | None, blocks: int = 1) -> "Room":
        for _ in range(blocks):
            self.now_s = round(self.now_s + BLOCK_S, 6)
            if heard is None:
                self.speaking = False
                change = self.decision.quiet(0.9, self.now_s)
            else:
                if not self.speaking:
                    self.decision.onset(self.now_s)
                    self.speaking = True
                change = self.decision.speech(heard, self.now_s)
            if change:
                self.changes.append((round(change.at_s, 2), change.label))
        return self


def test_a_confident_label_is_published_after_its_dwell():
    assert Room().hear(probs(happy=0.9), 10).changes == [(0.24, "happy")]


def test_at_first_it_is_quiet_and_has_been_since_the_beginning():
    decision = Decision(LABELS, PLAIN)
    assert (decision.label, decision.confidence, decision.since_s, decision.scores) == (QUIET, 1.0, 0.0, None)
    assert decision.speech(probs(happy=0.9), 0.96).label == "happy"  # due, counted from there


def test_nothing_is_said_before_it_is_certain_that_somebody_speaks():
    decision = Decision(LABELS, PLAIN)
    decision.onset(0.0)
    assert not any(decision.speech(probs(happy=0.9), 0.08 * n, certain=False) for n in range(1, 20))
    assert decision.label == QUIET
    assert decision.speech(probs(happy=0.9), 1.6).label == "happy"


def test_the_end_of_speech_is_quiet_at_once_and_the_state_does_not_stick():
    room = Room().hear(probs(happy=0.9), 10).hear(None, 5)
    assert room.changes == [(0.24, "happy"), (0.88, QUIET)]
    assert room.decision.scores is None


def test_doubt_is_unknown_and_only_after_a_while():
    assert Room().hear(probs(happy=0.5), 20).changes == [(0.88, UNKNOWN)]


def test_the_first_label_of_an_utterance_does_not_wait_for_ever():
    """Labels that never hold for their dwell: something is said when it is due, and only the first time."""
    room = Room()
    for _ in range(10):
        room.hear(probs(angry=0.9)).hear(probs(happy=0.9))
    assert room.changes == [(1.04, "angry")]


def test_neutral_ground_between_exit_and_enter_keeps_the_label():
    room = Room().hear(probs(happy=0.9), 20).hear(probs(happy=0.45), 30)
    assert [label for _, label in room.changes] == ["happy"]
    assert room.hear(probs(happy=0.3), 30).decision.label == UNKNOWN


def test_a_flicker_shorter_than_the_dwell_is_not_published():
    room = Room().hear(probs(happy=0.9), 20)
    for _ in range(10):
        room.hear(probs(angry=0.9), 2).hear(probs(happy=0.9), 1)
    assert [label for _, label in room.changes] == ["happy"]


def test_two_changes_keep_the_refractory_distance():
    room = Room().hear(probs(happy=0.9), 3).hear(probs(angry=0.9), 20)
    assert room.changes == [(0.24, "happy"), (1.04, "angry")]


def test_a_limit_is_of_whole_milliseconds():
    """Sums of 0.08 s are off by an ulp; but what is not there by half a millisecond is not there."""
    for candidate_s, said_s, label in ((0.1, 0.5, "happy"), (0.0, 0.39951, "happy"), (0.0, 0.3992, QUIET)):
        decision = Decision(LABELS, DecisionDefaults(smoothing_ms=0, dwell_ms=400, first_within_ms=9_000))
        decision.onset(candidate_s)
        decision.speech(probs(happy=0.9), candidate_s)
        decision.speech(probs(happy=0.9), said_s)
        assert decision.label == label


def test_enter_and_exit_are_reached_by_their_own_value():
    settings = DecisionDefaults(smoothing_ms=0, enter=0.5, exit=0.25, dwell_ms=0, first_within_ms=0, refractory_ms=0)
    decision = Decision(LABELS, settings)
    decision.onset(0.0)
    assert decision.speech(np.array([0.5, 0.25, 0.25], np.float32), 0.08).label == "angry"
    assert decision.speech(np.array([0.25, 0.375, 0.375], np.float32), 1.0) is None
    assert (decision.label, decision.confidence) == ("angry", 0.375)  # the highest score, whoever's it is
    assert decision.speech(np.array([0.125, 0.4375, 0.4375], np.float32), 2.0).label == UNKNOWN


def test_a_change_tells_both_labels_how_sure_and_how_long():
    decision = Decision(LABELS, PLAIN)
    decision.quiet(0.9, 1.0)
    decision.onset(2.0)
    decision.speech(probs(happy=0.75), 2.0)
    change = decision.speech(probs(happy=0.75), 2.5)
    assert (change.label, change.previous, change.confidence) == ("happy", QUIET, 0.75)
    assert (change.at_s, change.previous_duration_s) == (2.5, 2.5)
    assert (decision.confidence, decision.since_s) == (0.75, 2.5)
    assert decision.speech(probs(happy=0.875), 2.75) is None
    assert decision.confidence == 0.875
    change = decision.quiet(0.8, 3.0)
    assert (change.label, change.previous, change.confidence) == (QUIET, "happy", 0.8)
    assert (change.at_s, change.previous_duration_s) == (3.0, 0.5)
    assert decision.quiet(0.7, 4.0) is None
    assert (decision.confidence, decision.since_s) == (0.7, 3.0)


def test_smoothing_follows_an_exponential():
    decision = Decision(LABELS, DecisionDefaults(smoothing_ms=200, enter=1.0, exit=1.0))
    decision.onset(0.0)
    decision.speech(probs(sad=1.0), 0.08)
    for n in range(1, 6):
        decision.speech(probs(sad=0.0), 0.08 * (n + 1))
        np.testing.assert_allclose(decision.scores[2], np.exp(-80 * n / 200), rtol=1e-5)


def test_config_overrides_only_what_it_names():
    chosen = with_overrides(PLAIN, Overrides(enter=0.9, dwell_ms=0))
    assert (chosen.enter, chosen.dwell_ms, chosen.exit, chosen.refractory_ms) == (0.9, 0, 0.4, 800)


@settings(max_examples=200)
@given(st.lists(st.one_of(st.none(), st.lists(st.floats(0.01, 1), min_size=3, max_size=3)), max_size=120))
def test_whatever_is_heard_changes_are_real_and_silence_ends_in_quiet(heard):
    room = Room()
    for row in heard:
        room.hear(None if row is None else np.array(row, np.float32) / np.float32(sum(row)))
    room.hear(None)
    labels = [QUIET, *(label for _, label in room.changes)]
    assert all(a != b for a, b in itertools.pairwise(labels))
    assert set(labels) <= {*LABELS, UNKNOWN, QUIET}
    assert labels[-1] == QUIET


class Sparse(Room):
    """Answers only every `every`-th block of speech, from its first on, as a model does that takes several at once."""

    def __init__(self, settings: DecisionDefaults = PLAIN, every: int = 4) -> None:
        super().__init__(settings)
        self.every, self.certain_from_s = every, 0.0

    def utter(self, heard: np.ndarray, blocks: int) -> "Sparse":
        self.decision.onset(self.now_s)
        for number in range(blocks):
            self.now_s = round(self.now_s + BLOCK_S, 6)
            answer = heard if number % self.every == 0 else None
            certain = self.now_s >= self.certain_from_s
            if change := self.decision.speech(answer, self.now_s, certain=certain):
                self.changes.append((round(change.at_s, 2), change.label))
        return self


def test_an_answer_holds_until_the_next_and_ripens_meanwhile():
    """What is due between two answers is not kept until the second."""
    assert Sparse().utter(probs(happy=0.9), 8).changes == [(0.24, "happy")]  # the dwell is over after three blocks
    assert Sparse().utter(probs(happy=0.5), 12).changes == [(0.80, UNKNOWN)]
    late = with_overrides(PLAIN, Overrides(dwell_ms=5_000))
    assert Sparse(late).utter(probs(happy=0.9), 16).changes == [(0.96, "happy")]
    doubted = Sparse()
    doubted.certain_from_s = 0.48
    assert doubted.utter(probs(happy=0.9), 8).changes == [(0.48, "happy")]


def test_another_label_waits_for_the_refractory_time_between_two_answers_too():
    room = Sparse().utter(probs(happy=0.9), 4)
    for answer in (probs(sad=0.9), *[None] * 3, probs(sad=0.9), *[None] * 3):
        room.now_s = round(room.now_s + BLOCK_S, 6)
        if change := room.decision.speech(answer, room.now_s):
            room.changes.append((round(change.at_s, 2), change.label))
    assert room.changes == [(0.24, "happy")]
    assert room.decision.speech(None, 1.04).label == "sad"


def test_before_the_first_answer_nothing_is_known():
    decision = Decision(LABELS, PLAIN)
    decision.onset(0.0)
    assert decision.speech(None, 2.0) is None
    assert decision.scores is None


def test_scores_are_smoothed_by_the_time_between_answers_however_often_it_is_asked():
    smooth = DecisionDefaults(smoothing_ms=240)
    asked, not_asked = Decision(LABELS, smooth), Decision(LABELS, smooth)
    for decision in (asked, not_asked):
        decision.onset(0.0)
        decision.speech(probs(happy=0.9), 0.08)
    for number in range(2, 5):
        asked.speech(None, 0.08 * number)
    for decision in (asked, not_asked):
        decision.speech(probs(sad=0.9), 0.40)
    np.testing.assert_array_equal(asked.scores, not_asked.scores)
