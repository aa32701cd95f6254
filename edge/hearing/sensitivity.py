"""One number for how readily the room is heard: 0 to 100, at 50 all is as the artifact and `edge.gate` have it.

It moves the speech gate and the thresholds of labels together, each probability by the same step of its own logit, so
that the order of thresholds stays and none reaches 0 or 1. What it does to false events and to the share of speech
that gets a label: tests/bench/README.md.
"""

import math

import msgspec

from edge.config import Gate
from edge.model.manifest import DecisionDefaults

MIDDLE = 50
_SPEECH, _CERTAIN, _LABEL = 2.5, 2.0, 1.2  # logits from the middle to either end
_MARGIN_DB = 4.0  # the same, of the level above the noise floor
_LEAST_MARGIN_DB = 2.0


def tuned(gate: Gate, rules: DecisionDefaults, sensitivity: int) -> tuple[Gate, DecisionDefaults]:
    """Return gate and rules at a sensitivity (0 to 100). Higher never makes any of them stricter."""
    share = (sensitivity - MIDDLE) / MIDDLE
    if not share:
        return gate, rules
    gate = msgspec.structs.replace(
        gate,
        margin_db=_nearer(gate.margin_db, share),
        strong_margin_db=_nearer(gate.strong_margin_db, share),
        speech_probability=_moved(gate.speech_probability, _SPEECH * share),
        doubtful_probability=_moved(gate.doubtful_probability, _SPEECH * share),
        certain_probability=_moved(gate.certain_probability, _CERTAIN * share),
    )
    names = ("enter", "exit", "mood_enter", "arousal_enter")
    moved = {name: _moved(getattr(rules, name), _LABEL * share) for name in names if getattr(rules, name) is not None}
    return gate, msgspec.structs.replace(rules, **moved)


def _moved(probability: float, logits: float) -> float:
    if not 0.0 < probability < 1.0:  # always, or never
        return probability
    return 1.0 / (1.0 + math.exp(logits - math.log(probability / (1.0 - probability))))


def _nearer(margin_db: float, share: float) -> float:
    return max(min(margin_db, _LEAST_MARGIN_DB), margin_db - _MARGIN_DB * share)
