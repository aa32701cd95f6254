"""Both forms through edge/model/graph.py, against the bare interpreter driven by hand."""

import msgspec
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import ArtifactError
from edge.features.mfcc import mfcc
from edge.features.normalize import Normalization, Normalizer
from edge.model.artifact import read_artifact
from edge.model.graph import WindowModel, load_model
from tests.support.artifacts import STEP, STEP_INT8, WINDOW, parts
from tests.support.sounds import chirp


def load(path):
    artifact = read_artifact(path)
    return artifact.manifest, load_model(artifact.graph, artifact.manifest)


def frames_of(seconds: float, seed: int = 0) -> np.ndarray:
    return mfcc(chirp(seconds=seconds, seed=seed), read_artifact(WINDOW).manifest.features)


def by_hand(path, frames: np.ndarray) -> np.ndarray:
    """The answer after `frames` of an utterance, from the graph's signature alone."""
    graph, manifest = parts(path)
    interpreter = Interpreter(model_content=graph)
    run = interpreter.get_signature_runner()
    frames = Normalizer(read_artifact(path).manifest.normalization).process(frames)
    if manifest["form"] == "window":
        size = manifest["window_frames"]
        window = np.zeros((1, size, 40), np.float32)
        last = frames[-size:]
        window[0, size - len(last) :] = last
        return run(mfcc=window)["probs"][0].copy()
    states = {name: np.zeros(shape, np.float32) for name, shape in manifest["states"].items()}
    size, probs = manifest["step_frames"], None
    for start in range(0, len(frames) - size + 1, size):
        found = run(mfcc=frames[None, start : start + size], **states)
        states = {name: found[f"{name}_out"].copy() for name in states}
        probs = found["probs"][0].copy()
    return probs


@pytest.mark.parametrize("path", [WINDOW, STEP, STEP_INT8], ids=lambda path: path.stem)
@pytest.mark.parametrize("seconds", [0.2, 0.81, 3.0])
def test_an_utterance_is_what_the_graph_says_of_it(path, seconds):
    frames = frames_of(seconds)
    _, model = load(path)
    np.testing.assert_allclose(model.process(frames), by_hand(path, frames), atol=1e-6)


class Echo:
    """Stands in for an interpreter over a graph of any window: its answer is what it was given."""

    def set_tensor(self, _: int, tensor: np.ndarray) -> None:
        self._given = tensor.copy()

    def invoke(self) -> None:
        pass

    def get_tensor(self, _: int) -> np.ndarray:
        return self._given


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("chunks", [[1], [3], [2, 2], [9], [1, 7, 0, 1]])
def test_a_window_holds_the_last_frames_behind_zeros(size, chunks):
    normalizer = Normalizer(Normalization(kind="global", mean=[0.0] * 4, std=[1.0] * 4))
    model = WindowModel(Echo(), normalizer, 0, 1, None, shape=(1, size, 4))
    frames = np.arange(1.0, 37.0, dtype=np.float32).reshape(9, 4)
    for _ in range(2):
        start = 0
        for count in chunks:
            answer = model.process(frames[start : start + count])
            assert (answer is None) == (count == 0)
            start += count
        expected = np.concatenate([np.zeros((size, 4), np.float32), frames[:start]])[-size:]
        np.testing.assert_array_equal(answer, expected)
        model.reset()


@settings(max_examples=25)
@given(st.sampled_from([WINDOW, STEP, STEP_INT8]), st.lists(st.integers(0, 60), min_size=1, max_size=10))
def test_any_chunking_gives_the_same_answer(path, sizes):
    _, model = load(path)
    frames = frames_of(13.0)
    start, said = 0, None
    for size in sizes:
        probs = model.process(frames[start : start + size])
        start += size
        said = said if probs is None else probs
    _, fresh = load(path)
    expected = fresh.process(frames[:start])
    if expected is None:
        assert said is None
    else:
        np.testing.assert_array_equal(said, expected)


@pytest.mark.parametrize("path", [WINDOW, STEP, STEP_INT8], ids=lambda path: path.stem)
def test_answers_are_probabilities(path):
    manifest, model = load(path)
    tolerance = 1e-5 if manifest.precision == "float32" else len(manifest.labels) / 256
    for start in range(0, 80, 4):
        probs = model.process(frames_of(2.0)[start : start + 4])
        assert probs.shape == (7,)
        assert probs.dtype == np.float32
        assert probs.sum() == pytest.approx(1, abs=tolerance)
        assert (probs >= 0).all()


@pytest.mark.parametrize("path", [WINDOW, STEP, STEP_INT8], ids=lambda path: path.stem)
def test_reset_makes_utterances_independent(path):
    _, model = load(path)
    model.process(frames_of(1.0, seed=1)[:-1])
    model.reset()
    _, fresh = load(path)
    np.testing.assert_array_equal(model.process(frames_of(1.0)), fresh.process(frames_of(1.0)))


def test_two_models_of_one_artifact_do_not_disturb_each_other():
    (_, one), (_, two), (_, alone) = load(STEP), load(STEP), load(STEP)
    first, second = frames_of(1.0), frames_of(1.0, seed=1)
    for start in range(0, 40, 4):
        probs = one.process(first[start : start + 4])
        two.process(second[start : start + 4])
    np.testing.assert_array_equal(probs, alone.process(first[:40]))


def test_an_answer_is_not_overwritten_by_the_next():
    _, model = load(WINDOW)
    probs = model.process(frames_of(1.0))
    kept = probs.copy()
    model.process(frames_of(1.0, seed=1))
    np.testing.assert_array_equal(probs, kept)


@pytest.mark.parametrize("path", [STEP, STEP_INT8], ids=lambda path: path.stem)
def test_fewer_frames_than_a_step_wait(path):
    _, model = load(path)
    frames = frames_of(1.0)
    assert model.process(frames[:3]) is None
    assert model.process(frames[3:3]) is None
    assert model.process(frames[3:4]) is not None


def test_the_tail_that_fills_no_step_is_dropped_by_rule():
    frames = frames_of(1.0)
    (_, whole), (_, cut) = load(STEP), load(STEP)
    np.testing.assert_array_equal(whole.process(frames[:43]), cut.process(frames[:40]))


@pytest.mark.parametrize(
    ("path", "changes", "message"),
    [
        (WINDOW, {"window_frames": 41}, r"input mfcc is float32\[1, 40, 40\]"),
        (WINDOW, {"labels": ["a", "b"]}, "output probs is"),
        (STEP, {"step_frames": 8}, "input mfcc is"),
        (STEP, {"states": {}}, "inputs are"),
        (STEP, {"states": {"lstm_1_1": [1, 8], "lstm_1_2": [1, 9]}}, "lstm_1_2 is"),
    ],
)
def test_a_manifest_that_does_not_fit_the_graph_is_refused(path, changes, message):
    artifact = read_artifact(path)
    with pytest.raises(ArtifactError, match=message):
        load_model(artifact.graph, msgspec.structs.replace(artifact.manifest, **changes))


def test_bytes_that_are_no_graph_are_refused_in_one_line():
    artifact = read_artifact(WINDOW)
    with pytest.raises(ArtifactError, match="cannot load it") as caught:
        load_model(artifact.graph[:100], artifact.manifest)
    assert "\n" not in str(caught.value)
