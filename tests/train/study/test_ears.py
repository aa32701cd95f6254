"""Ears hear clips as the sensor's models do when their samples come block by block."""

import msgspec
import numpy as np
import pytest

from edge.errors import ArtifactError
from edge.features.mfcc import MfccExtractor
from edge.model.artifact import Artifact, read_artifact
from edge.model.embedding import Embedding
from edge.sound.recording import load_recording
from tests.support.artifacts import MOMENTS, STEP, UTTERANCE
from tests.support.lab import SPEC
from tests.support.tiny_corpus import write_corpus
from train.config import TrainConfig
from train.data.features import Cache
from train.data.index import scan
from train.study.ears import ear_of
from train.study.robustness import CLEAN

PAST = np.array([3, 4, 5])


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ears")
    clips = scan([write_corpus(folder, words=("back",), seconds=1.6)], TrainConfig(cache=str(folder / "cache"))).clips
    noises = {"hum": (0.1 * np.sin(np.arange(16_000) / 9)).astype(np.float32)}
    return clips, noises, Cache(folder / "cache")


def utterance() -> Artifact:
    artifact = read_artifact(UTTERANCE)
    embedding = Embedding(source="functionals", dimensions=len(artifact.manifest.functionals))
    manifest = msgspec.structs.replace(artifact.manifest, embedding=embedding)
    return Artifact(graph=artifact.graph, manifest=manifest, digest=artifact.digest)


def blocks(path: str) -> list[np.ndarray]:
    sound = load_recording(path)
    return [sound[start : start + 1_280] for start in range(0, len(sound) - 1_279, 1_280)]


def test_frames_are_heard_as_the_sensor_hears_them(lab):
    clips, *rest = lab
    artifact = read_artifact(MOMENTS)
    ear, model = ear_of(artifact, clips, *rest), artifact.load()
    extractor = MfccExtractor(SPEC)
    for block in blocks(clips[2].path):
        said = model.process(extractor.process(block))
    np.testing.assert_allclose(ear.embeddings(CLEAN)[2], model.embedding, atol=0.05)
    np.testing.assert_allclose(ear.probs(PAST, np.array([2]), CLEAN)[0], said, atol=0.05)
    assert ear.embeddings(CLEAN).shape == (len(clips), 216)


def test_utterances_are_heard_against_the_past(lab):
    clips, *rest = lab
    artifact = utterance()
    ear, model = ear_of(artifact, clips, *rest), artifact.load()
    for number in (*PAST, 2):
        model.reset()
        sound = load_recording(clips[number].path)
        model.process(sound)
        if number != 2:
            model.hear()
    said = model.answer(model._baseline.against(model.functionals))
    np.testing.assert_allclose(ear.embeddings(CLEAN)[2], model.embedding, atol=0.1)
    np.testing.assert_allclose(ear.probs(PAST, np.array([2]), CLEAN)[0], said, atol=0.02)
    assert np.abs(ear.probs(PAST[:0], np.array([2]), CLEAN)[0] - said).max() > 0.01


@pytest.mark.parametrize("artifact", [read_artifact(MOMENTS), utterance()], ids=["frames", "utterances"])
def test_noise_and_rooms_change_what_is_heard(lab, artifact):
    clips, *rest = lab
    ear = ear_of(artifact, clips[:3], *rest)
    clean = ear.embeddings(CLEAN)
    for condition in ("10 dB", "3 m"):
        heard = ear.embeddings(condition)
        assert heard.shape == clean.shape
        assert np.abs(heard - clean).max() > 0.1
        assert np.isfinite(heard).all()


def test_who_cannot_be_taught_is_told_so(lab):
    with pytest.raises(ArtifactError, match="has no embedding"):
        ear_of(read_artifact(STEP), *lab)
