"""Makes tiny-*.tflite, artifacts of a few kilobytes with random weights: `python -m tests.data.make_tiny_artifacts`.

They are committed, because the tests of `edge` run where TensorFlow is not installed.
"""

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from convert.graph import export
from convert.graph.slim import slim
from convert.verification.golden import TOLERANCE, with_golden
from edge.features.baseline import Prior
from edge.features.functionals import Functionals, names
from edge.features.mfcc import MfccSpec
from edge.features.normalize import Normalization
from edge.features.voice import voice_frames
from edge.model.artifact import write_artifact
from edge.model.embedding import Embedding
from edge.model.golden import Golden
from edge.model.manifest import DecisionDefaults, Manifest, Provenance
from tests.support.sounds import chirp
from train.networks import registry
from train.sizes import Cnn, Recurrent

LABELS = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
MOODS = {"tense": ["angry", "disgust", "fear"], "bright": ["happy", "surprise"], "calm": ["neutral"], "low": ["sad"]}
WINDOW_FRAMES, STEP_FRAMES, COEFFICIENTS = 40, 4, 40
HERE = Path(__file__).parent
PYTHONS = [sys.executable]


def network(name: str) -> keras.Model:
    """Return a network with random weights, whose answers are far from even."""
    keras.utils.set_random_seed(7)
    settings = Cnn(filters=[4, 8], dense=8) if name == "cnn" else Recurrent(units=[8], dense=8)
    model = registry.module(name).build(settings, frames=WINDOW_FRAMES, coefficients=COEFFICIENTS, labels=len(LABELS))
    last = model.layers[-1]
    last.set_weights([weight * 3 for weight in last.get_weights()])
    return model


def make(name: str, form: str, precision: str, normalization: str, path: Path) -> None:
    """Write one artifact."""
    model = network(name)
    rng = np.random.default_rng(3)
    if form == "step":
        step = registry.module(name).step(model, frames=STEP_FRAMES)
        endpoint = export.step_endpoint(model, step, frames=STEP_FRAMES)
        utterances = [rng.standard_normal((60, COEFFICIENTS)).astype(np.float32) for _ in range(8)]
        samples = export.step_samples(*endpoint, utterances)
    else:
        endpoint = export.window_endpoint(model, frames=WINDOW_FRAMES, embeds=True)
        samples = export.window_samples(rng.standard_normal((40, WINDOW_FRAMES, COEFFICIENTS)).astype(np.float32))
    graph = slim(export.converted(model, *endpoint, precision=precision, samples=samples))
    mean = [-200.0, 60.0] + [0.0] * (COEFFICIENTS - 2)
    std = [60.0, 30.0] + [10.0] * (COEFFICIENTS - 2)
    write(
        path,
        graph,
        architecture=name,
        form=form,
        precision=precision,
        normalization=Normalization(kind=normalization, mean=mean, std=std),
        window_frames=WINDOW_FRAMES if form == "window" else None,
        step_frames=STEP_FRAMES if form == "step" else None,
        states={state: list(shape) for state, shape in step.states.items()} if form == "step" else {},
        embedding=Embedding(source="graph", dimensions=8) if form == "window" else None,  # the others are older
    )


def make_utterance(path: Path) -> None:
    """Write the artifact that hears utterances: some functionals, in an order of its own; a prior of chirps."""
    keras.utils.set_random_seed(7)
    known = names(MfccSpec())
    chosen = known[::-3]
    heard = np.array([_functionals(chirp(seconds=2.0, seed=seed)) for seed in range(24)])[:, ::-3]
    usual = heard[:, ~np.isnan(heard).any(axis=0)]
    chosen = [name for name, values in zip(chosen, heard.T, strict=True) if not np.isnan(values).any()]
    model = keras.Sequential([
        keras.Input((len(chosen) + 1,)),
        keras.layers.Dense(8, activation="relu"),
        keras.layers.Dense(len(LABELS)),
    ])  # fmt: skip

    def serve(utterance):
        return {"probs": tf.nn.softmax(model(utterance, training=False))}

    signature = [tf.TensorSpec((1, len(chosen) + 1), tf.float32, name="utterance")]
    graph = slim(export.converted(model, serve, signature, precision="float32"))
    deviation = np.maximum(usual.std(axis=0), 1e-3)
    baseline = Prior(mean=_rounded(usual.mean(axis=0)), within=_rounded(deviation), between=_rounded(deviation))
    write(
        path, graph, architecture="dense", form="utterance", precision="float32", functionals=chosen, baseline=baseline,
        moods=MOODS, decision=DecisionDefaults(mood_enter=0.5, arousal_enter=0.6),
    )  # fmt: skip


def write(path: Path, graph: bytes, *, precision: str, **of_form: Any) -> None:
    """Write a graph as an artifact, with a golden sound."""
    manifest = Manifest(
        name="tiny",
        version="1",
        precision=precision,
        labels=LABELS,
        features=MfccSpec(),
        golden=Golden(features=[], probs=[], probs_tolerance=TOLERANCE[precision]),
        provenance=Provenance(corpora=[], protocol="none", seed=7, commit="", created="2026-11-22T00:00:00Z"),
        **of_form,
    )
    write_artifact(path, graph, with_golden(graph, manifest, PYTHONS, timeout_s=300))


def _functionals(sound: np.ndarray) -> np.ndarray:
    heard = Functionals(MfccSpec())
    heard.process(voice_frames(sound, MfccSpec()))
    return heard.values()


def _rounded(values: np.ndarray) -> list[float]:
    return np.round(values.astype(np.float64), 4).tolist()


def main() -> None:
    make("cnn", "window", "float32", "running", HERE / "tiny-window.tflite")
    make("lstm", "step", "float32", "global", HERE / "tiny-step.tflite")
    make("gru", "step", "int8", "running", HERE / "tiny-step-int8.tflite")
    make_utterance(HERE / "tiny-utterance.tflite")


if __name__ == "__main__":
    main()
