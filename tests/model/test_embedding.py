"""Embeddings: each source against the graph or the functionals themselves, and manifests that promise another one."""

import msgspec
import numpy as np
import pytest

from edge.errors import ArtifactError
from edge.features.baseline import LIMIT
from edge.features.mfcc import MfccSpec
from edge.features.normalize import Normalizer
from edge.model import runtime
from edge.model.artifact import Artifact, load, read_artifact, unpack
from edge.model.embedding import Embedding, of_moments
from edge.model.graph import load_model
from edge.model.manifest import decode, encode
from edge.model.replay import embedding_tolerance, observe, record
from tests.support.artifacts import MOMENTS, STEP, STEP_INT8, UTTERANCE, WINDOW, packed, parts
from tests.support.sounds import chirp

FRAMES = np.random.default_rng(3).normal(0, 8, (40, 40)).astype(np.float32)
HEARING = read_artifact(UTTERANCE)
TAUGHT = msgspec.structs.replace(
    HEARING.manifest, embedding=Embedding(source="functionals", dimensions=len(HEARING.manifest.functionals))
)


def test_moments_are_mean_and_deviation():
    rows = np.random.default_rng(0).normal(1, 2, (50, 6))
    moments = np.concatenate([[50], rows.sum(axis=0), (rows**2).sum(axis=0)])
    expected = np.concatenate([rows.mean(axis=0), np.sqrt(rows.var(axis=0) + 1e-4)])
    np.testing.assert_allclose(of_moments(moments), expected, rtol=1e-6)


def test_a_causal_network_s_is_what_its_state_sums_up():
    artifact, model = load(MOMENTS)
    manifest = artifact.manifest
    assert manifest.teachable
    assert manifest.embedding == Embedding(source="moments", dimensions=216)
    run = runtime.interpreter(artifact.graph).get_signature_runner()
    states = {name: np.zeros(shape, np.float32) for name, shape in manifest.states.items()}
    sound = Normalizer(manifest.normalization).process(FRAMES)
    for start in range(0, len(sound), 4):
        said = run(mfcc=sound[None, start : start + 4], **states)
        states = {name: said[f"{name}_out"].copy() for name in states}
    probs = model.process(FRAMES)
    np.testing.assert_array_equal(probs, said["probs"][0])
    np.testing.assert_array_equal(model.embedding, of_moments(states["moments"][0]))
    assert model.embedding.dtype == np.float32


def test_a_window_graph_s_is_its_second_output():
    artifact, model = load(WINDOW)
    run = runtime.interpreter(artifact.graph).get_signature_runner()
    model.process(FRAMES)
    seen = Normalizer(artifact.manifest.normalization).process(FRAMES)[None]
    np.testing.assert_array_equal(model.embedding, run(mfcc=seen)["embedding"][0])
    assert model.embedding.shape == (artifact.manifest.embedding.dimensions,)


@pytest.mark.parametrize("path", [WINDOW, MOMENTS])
def test_there_is_none_before_the_first_answer(path):
    _, model = load(path)
    assert model.embedding is None
    model.process(FRAMES)
    heard = model.embedding.copy()
    model.reset()
    assert model.embedding is None
    model.process(FRAMES)
    np.testing.assert_array_equal(model.embedding, heard)


def test_one_of_functionals_is_the_utterance_s_own_whatever_the_room():
    model = load_model(HEARING.graph, TAUGHT)
    assert model.embedding is None
    sound, prior = chirp(seconds=2.0, seed=1), TAUGHT.baseline
    model.process(sound)
    before = model.embedding
    assert before.dtype == np.float32
    deviation = np.sqrt(np.square(prior.within) + np.square(prior.between))
    expected = np.clip((model.functionals - prior.mean) / deviation, -LIMIT, LIMIT)
    np.testing.assert_allclose(before, expected, rtol=1e-6)
    for seed in range(5):
        model.reset()
        model.process(chirp(seconds=1.5, seed=seed + 10))
        model.hear()
    model.reset()
    model.process(sound)
    np.testing.assert_array_equal(model.embedding, before)


class Saying:
    """Stands in for an interpreter over a graph that hears utterances and gives an embedding: what it says is known."""

    SAID = ({"utterance": len(HEARING.manifest.functionals) + 1}, {"probs": 7, "embedding": 3})

    def __init__(self, graph: bytes) -> None:
        self._wires = [{name: {"index": index + 10 * side, "shape": np.array([1, width]), "dtype": np.float32}
                        for index, (name, width) in enumerate(wires.items())}
                       for side, wires in enumerate(self.SAID)]  # fmt: skip
        self.get_input_details, self.get_output_details = (lambda wires=wires: wires for wires in self._wires)

    def get_signature_list(self) -> dict[str, object]:
        return {"serve": {}}

    def get_signature_runner(self, name: str) -> "Saying":
        return self

    def set_tensor(self, index: int, tensor: np.ndarray) -> None:
        assert index == 0

    def invoke(self) -> None:
        pass

    def get_tensor(self, index: int) -> np.ndarray:
        return np.full((1, {10: 7, 11: 3}[index]), index, np.float32)


def test_a_graph_that_hears_utterances_may_give_one_too(monkeypatch):
    monkeypatch.setattr(runtime, "interpreter", Saying)
    given = msgspec.structs.replace(HEARING.manifest, embedding=Embedding(source="graph", dimensions=3))
    model = load_model(b"", given)
    assert model.embedding is None
    model.process(chirp(seconds=0.5))
    np.testing.assert_array_equal(model.embedding, [11, 11, 11])


@pytest.mark.parametrize("path", [STEP, STEP_INT8, UTTERANCE])
def test_older_models_run_and_cannot_be_taught(path):
    artifact, model = load(path)
    assert not artifact.manifest.teachable
    model.process(chirp(seconds=1.0) if path == UTTERANCE else FRAMES)
    assert model.embedding is None


@pytest.mark.parametrize(
    ("path", "wrong", "said"),
    [
        (MOMENTS, {"source": "moments", "dimensions": 214}, "state 'moments'"),
        (STEP, {"source": "moments", "dimensions": 216}, "state 'moments'"),
        (WINDOW, {"source": "functionals", "dimensions": 8}, "expected 8 functionals"),
        (UTTERANCE, {"source": "functionals", "dimensions": 3}, "expected 3 functionals"),
        (WINDOW, {"source": "graph", "dimensions": 9}, "graph: output embedding"),
        (UTTERANCE, {"source": "graph", "dimensions": 8}, "graph: outputs are"),
        (MOMENTS, {"source": "graph", "dimensions": 80}, "graph: outputs are"),
        (WINDOW, {"source": "graph", "dimensions": 257}, "dimensions"),
        (WINDOW, None, "graph: outputs are"),
    ],
)
def test_a_manifest_that_promises_another_is_refused(path, wrong, said):
    graph, manifest = parts(path)
    with pytest.raises(ArtifactError, match=f"^(manifest: .*{said}|{said})"):
        unpack(packed(graph, manifest | {"embedding": wrong})).load()


def test_every_source_is_written_and_read_back():
    for manifest in (read_artifact(MOMENTS).manifest, read_artifact(WINDOW).manifest, TAUGHT):
        assert decode(encode(manifest)) == manifest


@pytest.mark.parametrize("path", [WINDOW, MOMENTS])
def test_the_golden_sound_proves_it(path):
    artifact = read_artifact(path)
    golden = artifact.manifest.golden
    for changes, refused in (
        ({}, None),
        ({"embedding": None}, "golden.embedding: missing"),
        ({"embedding": golden.embedding[:-1]}, "golden.embedding: expected rows"),
        ({"embedding": shifted(golden, 0.5)}, None),
        ({"embedding": shifted(golden, 2.0)}, "the embedding differs by"),
        ({"embedding": [float("nan"), *golden.embedding[1:]]}, "the embedding differs by nan"),
    ):
        manifest = msgspec.structs.replace(artifact.manifest, golden=msgspec.structs.replace(golden, **changes))
        other = Artifact(graph=artifact.graph, manifest=manifest, digest=artifact.digest)
        if refused is None:
            other.load()
        else:
            with pytest.raises(ArtifactError, match=refused):
                other.load()


def shifted(golden, tolerances: float) -> list[float]:
    return [golden.embedding[0] + tolerances * golden.embedding_tolerance, *golden.embedding[1:]]


@pytest.mark.parametrize(
    ("numbers", "probs_tolerance", "expected"),
    [([1.0, -2.0], 0.01, 0.08), ([1 / 3], 0.01, 0.0133), ([0.0, 0.0], 0.01, 1e-4), ([1.0], 1e-5, 1e-4)],
)
def test_how_far_it_may_be_off(numbers, probs_tolerance, expected):
    assert embedding_tolerance(np.array(numbers), probs_tolerance) == expected


@pytest.mark.parametrize(("probs_tolerance", "digits"), [(1e-4, 5), (1e-3, 5), (0.02, 3)])
def test_it_is_recorded_as_exactly_as_probabilities_are(probs_tolerance, digits):
    artifact, model = load(WINDOW)
    sound = artifact.manifest.golden.sound
    seen = observe(model, artifact.manifest, sound).embedding.astype(np.float64)
    golden = record(model, artifact.manifest, sound, probs_tolerance=probs_tolerance, same_argmax=False)
    assert golden.embedding == np.round(seen, digits).tolist()
    assert golden.embedding_tolerance == embedding_tolerance(seen, probs_tolerance)


def test_of_functionals_the_features_are_the_proof():
    model = load_model(HEARING.graph, TAUGHT)
    assert Artifact(graph=HEARING.graph, manifest=TAUGHT, digest="").load().embedding is None
    sound = TAUGHT.golden.sound.samples(MfccSpec().sample_rate_hz)
    model.reset(np.zeros(512, np.float32))
    model.process(sound[: len(sound) // 1_280 * 1_280])
    np.testing.assert_allclose(model.embedding, np.clip(TAUGHT.golden.features[0], -LIMIT, LIMIT), atol=0.01)
    heard = model.embedding
    np.testing.assert_array_equal(observe(model, TAUGHT, TAUGHT.golden.sound).embedding, heard)
