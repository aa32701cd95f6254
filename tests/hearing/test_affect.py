"""Arousal and valence: against numpy's weighted average of the paper's figures, and against the circumplex."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from edge.commands.classify import classify
from edge.commands.demo import RECORDING
from edge.config import EdgeConfig
from edge.hearing.affect import COORDINATES, affect
from edge.model.artifact import DEFAULT_MODEL, load
from tests.support.sounds import ROOT

LABELS = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
# Russell and Mehrabian (1977), in hundredths, once more by hand: pleasure, arousal.
PAPER = np.array([[-51, 59], [-60, 35], [-64, 60], [81, 51], [0, 0], [-63, -27], [40, 67]])
# Where the circumplex (Russell 1980) has them: quadrants, counted from pleasant and excited, against the clock.
QUADRANTS = {"happy": 1, "surprise": 1, "angry": 2, "disgust": 2, "fear": 2, "sad": 3}
RECORDED = sorted((ROOT / "tests" / "data" / "payloads").glob("*-state.jsonl"))
NOTHING = {"arousal": None, "valence": None}

weights = st.lists(st.floats(0, 1), min_size=7, max_size=7).filter(lambda each: sum(each) > 1e-3)


@given(weights)
def test_it_is_the_average_of_the_papers_figures_weighted_by_the_scores(weights):
    scores = np.array(weights) / sum(weights)
    valence, arousal = np.average(PAPER, axis=0, weights=scores) / 100
    told = affect(dict(zip(LABELS, scores, strict=True)))
    assert told["valence"] == pytest.approx(valence, abs=5.1e-4)
    assert told["arousal"] == pytest.approx(arousal, abs=5.1e-4)
    assert -1 <= told["valence"] <= 1
    assert -1 <= told["arousal"] <= 1


@pytest.mark.parametrize("label", LABELS)
def test_one_sure_label_stands_where_the_circumplex_has_it(label):
    told = affect(dict.fromkeys(LABELS, 0.0) | {label: 1.0})
    if label == "neutral":
        assert told == {"arousal": 0.0, "valence": 0.0}
    else:
        assert math.atan2(told["arousal"], told["valence"]) % math.tau // (math.pi / 2) + 1 == QUADRANTS[label]


def test_the_order_of_the_labels_does_not_matter():
    scores = {"sad": 0.5, "happy": 0.5}
    assert affect(scores) == affect(dict(reversed(scores.items()))) == {"arousal": 0.12, "valence": 0.09}


def test_a_thousandth_is_the_last_digit_that_is_told():
    assert affect({"happy": 0.1234, "neutral": 0.8766}) == {"arousal": 0.063, "valence": 0.1}


def test_none_without_scores_and_with_labels_of_ones_own():
    assert affect({}) == NOTHING
    assert affect({"happy": 0.9, "laughing": 0.1}) == NOTHING
    assert affect({"laughing": 1.0}) == NOTHING


def test_every_label_of_the_bundled_model_has_coordinates():
    assert set(load(DEFAULT_MODEL)[0].manifest.labels) == set(LABELS) == set(COORDINATES)


def test_what_a_sensor_published_is_the_average_over_its_scores():
    states = [json.loads(line) for path in RECORDED for line in path.read_text().splitlines()]
    told = [state for state in states if state.get("arousal") is not None]
    assert {state["emotion"] for state in told} > {"happy"}
    for state in told:
        scores = [state["scores"][label] for label in LABELS]
        valence, arousal = np.average(PAPER, axis=0, weights=scores) / 100
        assert (state["valence"], state["arousal"]) == pytest.approx((valence, arousal), abs=1e-3)
    assert all(state["valence"] is None for state in states if "valence" in state and not state["scores"])


def test_classify_tells_it_per_answer_and_for_the_whole(tmp_path: Path):
    artifact, model = load(DEFAULT_MODEL)
    *events, last = classify(RECORDING, model, artifact.manifest, EdgeConfig())
    assert any(event["event_type"] == "quiet" for event in events)
    for told in (*events, last["summary"]):
        assert {name: told[name] for name in NOTHING} == affect(told["scores"])
        assert (told["arousal"] is None) == (not told["scores"])
    soundfile.write(tmp_path / "silence.wav", np.zeros(16_000), 16_000)
    (silence,) = classify(tmp_path / "silence.wav", model, artifact.manifest, EdgeConfig())
    assert (silence["summary"]["emotion"], silence["summary"]["arousal"]) == ("quiet", None)
