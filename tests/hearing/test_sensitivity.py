"""Sensitivity: one number that moves the gate and the thresholds together."""

from itertools import pairwise

import msgspec
import pytest
from scipy.special import logit

from edge.config import Gate
from edge.hearing.sensitivity import MIDDLE, tuned
from edge.model.artifact import DEFAULT_MODEL, read_artifact

RULES = read_artifact(DEFAULT_MODEL).manifest.decision
GROUPED = msgspec.structs.replace(RULES, mood_enter=0.5, arousal_enter=0.6)


def test_more_sensitivity_makes_no_threshold_stricter():
    steps = [tuned(Gate(), RULES, number) for number in range(101)]
    assert steps[MIDDLE] == (Gate(), RULES)
    names = ("margin_db", "strong_margin_db", "speech_probability", "doubtful_probability", "certain_probability")
    for (gate, rules), (next_gate, next_rules) in pairwise(steps):
        assert all(getattr(next_gate, name) <= getattr(gate, name) for name in names)
        assert next_rules.enter < rules.enter
        assert next_rules.exit < rules.exit < rules.enter
        assert next_gate.doubtful_probability < next_gate.speech_probability < next_gate.certain_probability < 1


@pytest.mark.parametrize(("sensitivity", "share"), [(0, -1.0), (40, -0.2), (75, 0.5), (100, 1.0)])
def test_each_probability_moves_by_its_step_of_logits_and_margins_by_decibels(sensitivity, share):
    gate, rules = tuned(Gate(margin_db=9.0, strong_margin_db=20.0), GROUPED, sensitivity)
    for now, middle, steps in (
        (gate, Gate(), {"speech_probability": 2.5, "doubtful_probability": 2.5, "certain_probability": 2.0}),
        (rules, GROUPED, {"enter": 1.2, "exit": 1.2, "mood_enter": 1.2, "arousal_enter": 1.2}),
    ):
        for name, step in steps.items():
            assert logit(getattr(middle, name)) - logit(getattr(now, name)) == pytest.approx(step * share)
    assert (gate.margin_db, gate.strong_margin_db) == pytest.approx((9.0 - 4.0 * share, 20.0 - 4.0 * share))


def test_a_margin_stays_above_two_decibels_unless_it_was_below():
    assert [tuned(Gate(margin_db=margin), RULES, 100)[0].margin_db for margin in (7.0, 5.0, 2.0, 1.0)] == [3, 2, 2, 1]


@pytest.mark.parametrize("never_or_always", [0.0, 1.0])
def test_what_is_never_or_always_so_stays_so(never_or_always):
    for sensitivity in (0, 100):
        gate, _ = tuned(Gate(speech_probability=never_or_always), RULES, sensitivity)
        assert gate.speech_probability == never_or_always


def test_what_a_model_does_not_say_has_no_threshold_to_move():
    _, rules = tuned(Gate(), msgspec.structs.replace(GROUPED, arousal_enter=None), 80)
    assert rules.arousal_enter is None
    assert rules.mood_enter < GROUPED.mood_enter
