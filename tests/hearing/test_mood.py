"""As much as is known: the mood beside a label, by sums written out here; and on the wire, from a real recording."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.commands.classify import classify
from edge.commands.demo import RECORDING
from edge.config import Decision, EdgeConfig
from edge.daemon.messages import Messages
from edge.hearing.decision import settings
from edge.hearing.mood import Mood, Moods, fields_of, names
from edge.hearing.pipeline import Pipeline
from edge.labels import QUIET, UNKNOWN
from edge.model.artifact import load
from edge.model.manifest import DecisionDefaults
from edge.sound.blocks import timed_blocks
from edge.sound.recording import read_recording
from edge.voice.sequence import Sequence
from tests.support.artifacts import MOMENTS, UTTERANCE

LABELS = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
GROUPS = {"tense": ["angry", "disgust", "fear"], "bright": ["happy", "surprise"], "calm": ["neutral"], "low": ["sad"]}
RULES = DecisionDefaults(mood_enter=0.6, arousal_enter=0.7)
NOTHING = {"mood": None, "mood_confidence": None}


def scores(**given: float) -> np.ndarray:
    rest = (1 - sum(given.values())) / max(1, len(LABELS) - len(given))
    return np.array([given.get(label, rest) for label in LABELS], np.float32)


def of(label: str, heard: np.ndarray, rules: DecisionDefaults = RULES, **changes) -> tuple[str, float]:
    mood = Moods(changes.get("labels", LABELS), changes.get("moods", GROUPS), rules).of(label, 0.3, heard)
    return mood.name, round(mood.confidence, 3)


def test_a_labels_mood_is_its_groups_whatever_the_scores_say():
    assert of("angry", scores(angry=0.5, fear=0.2, disgust=0.1)) == ("tense", 0.8)
    held = scores(sad=0.4, angry=0.3, fear=0.2, disgust=0.05)  # although others are ahead
    assert of("sad", held) == ("low", 0.4)


def test_where_no_label_stands_out_its_group_may():
    assert of(UNKNOWN, scores(angry=0.3, fear=0.2, disgust=0.15)) == ("tense", 0.65)
    assert of(UNKNOWN, scores(happy=0.35, surprise=0.3)) == ("bright", 0.65)


def test_and_where_no_group_does_the_arousal_may():
    heard = scores(angry=0.2, fear=0.15, disgust=0.1, happy=0.25, surprise=0.15, neutral=0.1, sad=0.05)
    assert of(UNKNOWN, heard) == ("excited", 0.85)
    assert of(UNKNOWN, scores(neutral=0.4, sad=0.35)) == ("calm", 0.75)
    assert of(UNKNOWN, scores(neutral=0.4, happy=0.4)) == (UNKNOWN, 0.44)  # neither side is sure, nor any group
    without = DecisionDefaults(mood_enter=0.6)
    assert of(UNKNOWN, heard, without) == (UNKNOWN, 0.45)


def test_the_arousal_of_labels_of_ones_own_is_not_known():
    labels = ["bored", *LABELS[1:]]
    heard = scores(disgust=0.3, happy=0.3, surprise=0.3)
    assert of(UNKNOWN, heard, labels=labels, moods={"bright": ["happy", "surprise"]}) == ("bright", 0.6)
    rules = DecisionDefaults(mood_enter=0.7, arousal_enter=0.5)
    assert of(UNKNOWN, heard, rules, labels=labels, moods={"bright": ["happy", "surprise"]}) == (UNKNOWN, 0.6)


def test_a_label_that_is_in_no_group_has_no_mood():
    assert of("sad", scores(sad=0.5, angry=0.4), moods={"tense": ["angry", "fear"]})[0] == UNKNOWN


def test_quiet_is_quiet():
    moods = Moods(LABELS, GROUPS, RULES)
    assert moods.of(QUIET, 0.9, None) == Mood(name=QUIET, confidence=0.9)
    assert moods.of(QUIET, 0.9, scores(angry=0.9)) == Mood(name=QUIET, confidence=0.9)  # somebody has just begun


@given(st.lists(st.floats(0, 1), min_size=7, max_size=7).filter(lambda each: sum(each) > 1e-3),
       st.sampled_from([*LABELS, UNKNOWN, QUIET]), st.floats(0, 1), st.none() | st.floats(0, 1))  # fmt: skip
def test_it_never_contradicts_the_label_and_its_confidence_is_a_ratio(weights, label, mood_enter, arousal_enter):
    heard = (np.array(weights) / sum(weights)).astype(np.float32)
    rules = DecisionDefaults(mood_enter=mood_enter, arousal_enter=arousal_enter)
    mood = Moods(LABELS, GROUPS, rules).of(label, 0.5, heard)
    assert mood.name in names(GROUPS)
    assert 0 <= mood.confidence <= 1
    if label in LABELS:
        assert label in GROUPS[mood.name]
    if label == QUIET:
        assert mood.name == QUIET


def test_a_model_that_groups_no_labels_says_nothing():
    assert Moods(LABELS, {}, RULES).of("angry", 0.9, scores(angry=0.9)) is None
    assert Moods(LABELS, {}, RULES).of(QUIET, 0.9, None) is None
    assert fields_of(None) == NOTHING
    assert names({}) == []
    assert names(GROUPS) == ["tense", "bright", "calm", "low", "excited", UNKNOWN, QUIET]


def test_the_sensors_own_settings_overrule_the_artifacts():
    rules = settings(RULES, Decision(mood_enter=0.9))
    assert (rules.mood_enter, rules.arousal_enter) == (0.9, 0.7)


def test_states_and_recordings_tell_it_and_those_of_old_models_do_not():
    artifact, model = load(UTTERANCE)
    pipeline = Pipeline(model, artifact.manifest)
    messages = Messages(pipeline, "m", Sequence())
    seen = set()
    for block in timed_blocks(read_recording(RECORDING), started_at=0.0):
        observation = pipeline.process(block)
        state = messages.state(observation, at=0.0, microphone="ok")
        if state.emotion in LABELS:
            group = GROUPS[state.mood]
            assert state.emotion in group
            assert state.mood_confidence == pytest.approx(sum(state.scores[each] for each in group), abs=1e-3)
        elif state.emotion == QUIET:
            assert (state.mood, state.mood_confidence) == (QUIET, state.confidence)
        seen.add(state.mood)
    assert len(seen) >= 3
    for path in (UTTERANCE, MOMENTS):
        artifact, model = load(path)
        *events, last = classify(RECORDING, model, artifact.manifest, EdgeConfig())
        for told in (*events, last["summary"]):
            if path == MOMENTS:
                assert {field: told[field] for field in NOTHING} == NOTHING
            else:
                assert told["mood"] in names(GROUPS)
